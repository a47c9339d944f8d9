// Scores and comments at a student's work: kept as soon as a field is left. A score that cannot be is refused, in words.
import { attachLibraries } from "./comments.js";
import { call } from "./grading.js";

const work = document.getElementById("work");
const api = work?.dataset.api;
const looking = work !== null && "looking" in work.dataset;

function say(place, text, bad) {
  place.textContent = text;
  place.classList.toggle("bad", Boolean(bad));
}

async function keep(kind, item, changes, place) {
  try {
    // What this page shows goes along, so that nobody's newer mark is written over unseen.
    const { ok, status, found } = await call("PUT", `${api}/${kind}/${item.id}`, { ...item, ...changes, seen: item });
    if (ok || status === 409) Object.assign(item, ok ? found : found.now);
    if (ok) {
      say(place, work.dataset.kept);
      return true;
    }
    if (status === 409) {
      say(place, work.dataset.changed, true);
      return "changed";
    }
    if (found.said) say(place, found.said, true);
    else say(place, "max_score" in found ? work.dataset.much.replace("{most}", found.max_score) : work.dataset.silent, true);
  } catch {
    say(place, work.dataset.silent, true);
  }
  return false;
}

function showTotal(grades) {
  const sum = grades.reduce((so, one) => so + (one.manual_score ?? one.auto_score ?? 0) + (one.extra_credit ?? 0), 0);
  document.getElementById("total").textContent = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 2 }).format(sum);
}

function attachGrade(grade, grades) {
  const field = document.getElementById(grade.name), cell = field?.closest(".mark");
  if (!cell) return;
  const place = cell.querySelector(".mark-head .mark-said");
  const draw = () => {
    field.value = grade.manual_score ?? "";
    field.placeholder = grade.auto_score ?? "";
    cell.classList.toggle("needed", grade.needs_manual_grade);
  };
  const save = async (score) => {
    const kept = await keep("grade", grade, { manual_score: score }, place);
    if (kept) {
      if (kept === "changed") field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
      draw();
      showTotal(grades);
    } else {
      field.setAttribute("aria-invalid", "true");
    }
  };
  field.addEventListener("change", () => {
    const score = field.value === "" ? null : Number(field.value);
    if (field.validity.badInput || (score !== null && !(score >= 0))) {
      field.setAttribute("aria-invalid", "true");
      say(place, work.dataset.wrong, true);
      return;
    }
    save(score);
  });
  cell.querySelector(".full-credit").addEventListener("click", () => save(grade.max_score));
  cell.querySelector(".no-credit").addEventListener("click", () => save(0));
  draw();
  if (looking) return;
  // Only now, so that nothing is typed that would be lost.
  for (const one of cell.querySelectorAll(".mark-head :disabled")) one.disabled = false;
}

function attachComment(comment) {
  const field = document.getElementById(`${comment.name}-comment`);
  if (!field) return;
  const place = field.parentElement.querySelector(".mark-said");
  field.value = comment.manual_comment ?? comment.auto_comment ?? "";
  field.addEventListener("change", async () => {
    const kept = await keep("comment", comment, { manual_comment: field.value }, place);
    if (kept === "changed") field.value = comment.manual_comment ?? comment.auto_comment ?? "";
  });
  if (looking) return;
  field.disabled = false;
}

if (work) {
  // What is too wide for the page scrolls by itself, also with a keyboard.
  for (const one of work.querySelectorAll(".output, table")) if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
  const about = `?submission_id=${encodeURIComponent(work.dataset.submission)}`;
  const [grades, comments] = await Promise.all([call("GET", `${api}/grades${about}`), call("GET", `${api}/comments${about}`)]);
  grades.found.forEach((grade) => attachGrade(grade, grades.found));
  comments.found.forEach(attachComment);
  await attachLibraries(work);
  document.documentElement.dataset.ready = "";
}
