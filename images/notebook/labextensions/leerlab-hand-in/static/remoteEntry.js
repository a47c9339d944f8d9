/* Says before work is handed in how late it is, what that costs, and how many attempts are left; then nbgrader's own
 * button does what it does. Where there is nothing to say, nothing is asked.
 *
 * nbgrader's list of assignments (its labextension, class of one row) draws a button with the text "Submit" beside the
 * names of course and assignment, and offers no place to step in between: the click is caught on its way there.
 * It asks leerlab/hand-in of its own server (leerlab_lab/handing_in.py). Written by hand, as leerlab-save is.
 */
(() => {
  "use strict";
  const NAME = "leerlab-hand-in";
  let shared = {};

  const TEXTS = {
    nl: {
      title: (name) => `${name} inleveren?`,
      cannot: (name) => `${name} kun je nu niet inleveren`,
      late: (due) => `De deadline was ${due}.`,
      costs: (percent) => `Lever je nu in, dan gaat er ${percent} van je punten af.`,
      free: "Te laat inleveren kan nog, en kost geen punten.",
      replaces: "Je hebt al op tijd ingeleverd. Wat je nu inlevert, telt in plaats daarvan.",
      attempt: (number, most) => `Dit is poging ${number} van ${most}. De laatste telt.`,
      last: (most) => `Dit is je laatste poging van ${most}.`,
      closed: (until) => `Dat kon tot ${until}. Vraag je docent als je meer tijd nodig hebt.`,
      used: (most) => `Je hebt alle ${most} pogingen gebruikt; de laatste telt. Vraag je docent als je nog een poging nodig hebt.`,
      safe: "Je bestanden zijn veilig.",
      yes: "Inleveren",
      no: "Nog niet",
      ok: "OK",
    },
    en: {
      title: (name) => `Hand in ${name}?`,
      cannot: (name) => `You cannot hand in ${name} now`,
      late: (due) => `The deadline was ${due}.`,
      costs: (percent) => `If you hand in now, ${percent} of your points is taken off.`,
      free: "You can still hand in late, and it costs no points.",
      replaces: "You handed in on time before. What you hand in now counts instead.",
      attempt: (number, most) => `This is attempt ${number} of ${most}. The last one counts.`,
      last: (most) => `This is the last of your ${most} attempts.`,
      closed: (until) => `That was possible until ${until}. Ask your teacher if you need more time.`,
      used: (most) => `You have used all ${most} attempts; the last one counts. Ask your teacher if you need another attempt.`,
      safe: "Your files are safe.",
      yes: "Hand in",
      no: "Not yet",
      ok: "OK",
    },
  };

  async function module(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  // What there is to say; nothing where handing in is as it always is.
  function sentences(told, texts, locale) {
    const moment = (text) => new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" }).format(new Date(text));
    const percent = (value) => new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 }).format(value / 100);
    if (told.refused === "grading.no_attempts") return [texts.used(told.attempts), texts.safe];
    if (told.refused) return [texts.closed(moment(told.closes)), texts.safe];
    const said = [];
    if (told.late_seconds > 0) {
      said.push(texts.late(moment(told.due)), told.percent_off ? texts.costs(percent(told.percent_off)) : texts.free);
      if (told.replaces && !told.replaces.late_seconds) said.push(texts.replaces);
    }
    if (told.attempts) said.push(told.attempt === told.attempts ? texts.last(told.attempts) : texts.attempt(told.attempt, told.attempts));
    return said;
  }

  async function mayGoOn(tools, course, assignment) {
    const { ServerConnection, URLExt, Dialog, showDialog } = tools;
    const settings = ServerConnection.makeSettings();
    const address = URLExt.join(settings.baseUrl, "leerlab/hand-in", course, assignment);
    let told;
    try {
      const answer = await ServerConnection.makeRequest(address, {}, settings);
      if (!answer.ok) return true; // nbgrader's own button says what is wrong.
      told = await answer.json();
    } catch {
      return true;
    }
    const texts = TEXTS[told.language] ?? TEXTS.nl;
    const said = sentences(told, texts, told.language === "en" ? "en-GB" : "nl");
    if (!said.length) return true;
    const buttons = told.refused
      ? [Dialog.okButton({ label: texts.ok })]
      : [Dialog.cancelButton({ label: texts.no }), Dialog.okButton({ label: texts.yes })];
    const title = told.refused ? texts.cannot(assignment) : texts.title(assignment);
    const chosen = await showDialog({ title, body: said.join(" "), buttons });
    return chosen.button.accept && !told.refused;
  }

  function catchClicks(tools) {
    const passing = new WeakSet(), asking = new WeakSet();
    document.addEventListener("click", async (event) => {
      const button = event.target instanceof Element ? event.target.closest(".list_item .item_status button") : null;
      if (!button || button.textContent !== "Submit" || passing.has(button)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (asking.has(button)) return;
      asking.add(button);
      const row = button.closest(".list_item");
      const [course, assignment] = [".item_course", ".item_name"].map((part) => row.querySelector(part)?.textContent ?? "");
      try {
        if (!(await mayGoOn(tools, course, assignment))) return;
      } finally {
        asking.delete(button);
      }
      passing.add(button);
      button.click();
      passing.delete(button);
    }, true);
  }

  const plugin = {
    id: `${NAME}:plugin`,
    description: "Says before work is handed in what that costs.",
    autoStart: true,
    activate: async () => {
      const [services, coreutils, apputils] = await Promise.all(
        ["@jupyterlab/services", "@jupyterlab/coreutils", "@jupyterlab/apputils"].map(module));
      const { ServerConnection } = services, { URLExt } = coreutils, { Dialog, showDialog } = apputils;
      catchClicks({ ServerConnection, URLExt, Dialog, showDialog });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB[NAME] = {
    init: (scope) => {
      shared = scope;
    },
    get: async (module) => {
      if (module !== "./extension") throw new Error(`${NAME} has no ${module}`);
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
