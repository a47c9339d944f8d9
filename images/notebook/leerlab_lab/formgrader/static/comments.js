// Saved comments under each field for a comment: open the list, click one, and it stands in the field and is kept.
// Texts are always put in as text, never as HTML.
import { call } from "./grading.js";

const shape = document.getElementById("comment-library"), shapeOfOne = document.getElementById("comment-of-library");
const words = document.getElementById("library-words")?.dataset;

class Library {
  constructor(field, api, submission, saved) {
    Object.assign(this, { field, api, submission, saved });
    this.task = field.name;
    this.box = shape.content.cloneNode(true).firstElementChild;
    this.part = (name) => this.box.querySelector(`.library-${name}`);
    this.part("keep").addEventListener("click", () => this.keep());
    this.part("search").addEventListener("input", () => this.draw());
    field.closest(".mark-foot").append(this.box);
    this.draw();
  }

  say(text, bad) {
    this.part("said").textContent = text;
    this.part("said").classList.toggle("bad", Boolean(bad));
  }

  // An answer, or null after saying what went wrong.
  async ask(method, path, content) {
    const { ok, status, found } = await call(method, `${this.api}/comment_library${path}`, content).catch(() => ({ found: {} }));
    if (ok) return found;
    if (status === 404 && path) {
      this.saved = this.saved.filter((one) => !path.startsWith(`/${one.id}`));
      this.draw();
    }
    this.say(words[found.code] ?? (status === 404 ? words.gone : words.silent), true);
    return null;
  }

  draw() {
    const looked = this.part("search").value.trim().toLocaleLowerCase();
    const shown = this.saved.filter((one) => one.text.toLocaleLowerCase().includes(looked));
    this.part("count").textContent = this.saved.length;
    this.part("none").hidden = this.saved.length > 0;
    this.part("search").hidden = this.saved.length === 0;
    this.part("nothing").hidden = this.saved.length === 0 || shown.length > 0;
    this.part("list").replaceChildren(...shown.map((one) => this.row(one)));
  }

  row(one) {
    const row = shapeOfOne.content.cloneNode(true).firstElementChild;
    const part = (name) => row.querySelector(`.library-${name}`);
    const form = part("form"), text = form.querySelector("textarea");
    part("text").textContent = one.text;
    part("use").addEventListener("click", () => this.use(one));
    part("remove").addEventListener("click", () => this.remove(one));
    const edits = (on) => {
      form.hidden = !on;
      part("use").hidden = row.querySelector(".library-buttons").hidden = on;
      if (on) text.value = one.text;
      (on ? text : part("edit")).focus();
    };
    part("edit").addEventListener("click", () => edits(true));
    part("cancel").addEventListener("click", () => edits(false));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const found = await this.ask("PUT", `/${one.id}`, { text: text.value });
      if (!found) return;
      Object.assign(one, found);
      this.draw();
      this.say(words.kept);
    });
    return row;
  }

  async keep() {
    const text = this.field.value;
    const found = await this.ask("POST", "", { submission_id: this.submission, task: this.task, text });
    if (!found) return;
    if (!this.saved.some((one) => one.id === found.id)) this.saved.push(found);
    this.draw();
    this.say(words.kept);
  }

  use(one) {
    const { field } = this, before = field.value.trim();
    // "No response." is what nbgrader itself puts there for an answer that was left empty.
    if (!before || before === "No response.") field.value = one.text;
    else if (!before.includes(one.text)) field.value = `${before}\n\n${one.text}`;
    this.box.querySelector("details").open = false;
    this.say("");
    // The field keeps what stands in it when it changes (marks.js).
    field.dispatchEvent(new Event("change"));
    field.focus();
    this.ask("POST", `/${one.id}/used`).then((found) => { if (found) one.used = found.used; });
  }

  async remove(one) {
    if (!window.confirm(words.ask)) return;
    if (!await this.ask("DELETE", `/${one.id}`)) return;
    this.saved = this.saved.filter((other) => other !== one);
    this.draw();
    this.say(words.removed);
    this.box.querySelector("summary").focus();
  }
}

// For every field that a comment can be written in. Without an answer the fields work as they did.
export async function attachLibraries(work) {
  const fields = [...work.querySelectorAll("textarea.comment:enabled")];
  if (!shape || !fields.length) return;
  const { api, submission } = work.dataset;
  const { ok, found } = await call("GET", `${api}/comment_library?submission_id=${encodeURIComponent(submission)}`).catch(() => ({}));
  if (!ok) return;
  for (const field of fields) {
    new Library(field, api, submission, found.comments.filter((one) => one.task === field.name));
  }
}
