/* Says 15 and 5 minutes before the end that the server is going to end, what is kept and what is not, and lets people
 * save everything, and have more time where the site allows it. In the last minute everything open is saved by itself.
 * Where a home has a limit, it says when nine tenths of it are taken, and again when all is: above that a server is ended.
 *
 * It asks leerlab/time of its own server (leerlab_lab/walltime.py) and nothing else, and tells nobody anything.
 * Written by hand, as leerlab-save is.
 */
(() => {
  "use strict";
  const NAME = "leerlab-time";
  const MINUTE = 60;
  // Seconds before the end at which people are told, and at which everything is saved.
  const WARN = [15 * MINUTE, 5 * MINUTE];
  const SAVE = MINUTE;
  // Parts of the room for files at which people are told, and below which that is forgotten.
  const ROOM = [0.9, 1];
  const ROOM_AGAIN = 0.85;
  const SAVE_ALL = "docmanager:save-all";
  let shared = {};

  // JupyterLab shows 140 characters of a notification: `ends` and what follows it stay below that together.
  const TEXTS = {
    nl: {
      ends: (left, at) => `Deze werkplek stopt om ${at}, over ${left}.`,
      kept: "Bestanden worden opgeslagen; variabelen en lopende programma's gaan verloren.",
      last: "Alles wat openstaat, is zojuist opgeslagen.",
      unsaved: "Niet alles kon worden opgeslagen. Sla zelf op wat je wilt bewaren.",
      save: "Alles opslaan",
      saved: "Alles wat openstaat, is opgeslagen.",
      more: (by) => `${by} langer`,
      until: (at) => `Je werkplek gaat nu door tot ${at}.`,
      none: "Meer tijd kan niet. Je werkplek stopt op de genoemde tijd; daarna kun je hem opnieuw starten.",
      silent: "Meer tijd vragen lukt nu niet. Probeer het over een minuut opnieuw.",
      status: (left) => `Stopt over ${left}`,
      room: [
        (taken, size) => `Je bestanden nemen ${taken} in, van de ${size} die je hebt. Verwijder wat je niet meer nodig hebt.`,
        (taken, size) => `Je bestanden nemen ${taken} in; je hebt ${size}. Verwijder nu iets: komt er veel bij, dan stopt deze werkplek.`,
      ],
    },
    en: {
      ends: (left, at) => `This workplace stops at ${at}, in ${left}.`,
      kept: "Files are saved; variables and running programs are lost.",
      last: "Everything that is open has just been saved.",
      unsaved: "Not everything could be saved. Save yourself what you want to keep.",
      save: "Save everything",
      saved: "Everything that is open has been saved.",
      more: (by) => `${by} longer`,
      until: (at) => `Your workplace now goes on until ${at}.`,
      none: "There is no more time to give. Your workplace stops at the time named; you can start it again after that.",
      silent: "More time cannot be asked for now. Try again in a minute.",
      status: (left) => `Stops in ${left}`,
      room: [
        (taken, size) => `Your files take ${taken} of the ${size} that you have. Remove what you no longer need.`,
        (taken, size) => `Your files take ${taken}; you have ${size}. Remove something now: this workplace stops if they grow much more.`,
      ],
    },
  };

  async function module(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  function duration(seconds, language) {
    const hours = seconds >= 2 * 60 * MINUTE || seconds === 60 * MINUTE;
    const [unit, length] = hours ? ["hour", 60 * MINUTE] : seconds >= MINUTE ? ["minute", MINUTE] : ["second", 1];
    const format = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 1 };
    const value = hours ? Math.round((seconds / length) * 10) / 10 : Math.max(1, Math.round(seconds / length));
    return new Intl.NumberFormat(language, format).format(value);
  }

  // Sizes as the portal and the settings have them: 1 GB is 1024 MB.
  function size(bytes, language) {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
    const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
    const format = { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: 1 };
    return new Intl.NumberFormat(language, format).format(bytes / 1024 ** step);
  }

  class Watch {
    constructor(app, tools, bar) {
      Object.assign(this, { app, tools, bar });
      this.home = null;
      this.full = -1;
      this.shownRoom = null;
      this.warned = Infinity;
      this.saved = false;
      this.ends = null;
      this.by = 0;
      this.shown = null;
      this.language = "nl";
    }

    get texts() {
      return TEXTS[this.language] ?? TEXTS.nl;
    }

    get locale() {
      return this.language === "en" ? "en-GB" : this.language;
    }

    at() {
      return new Intl.DateTimeFormat(this.locale, { timeStyle: "short" }).format(new Date(this.ends));
    }

    async ask(method) {
      const { ServerConnection, URLExt } = this.tools;
      const settings = ServerConnection.makeSettings();
      const address = URLExt.join(settings.baseUrl, "leerlab/time");
      const answer = await ServerConnection.makeRequest(address, { method }, settings);
      if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
      this.take(await answer.json());
    }

    take(told) {
      this.language = told.language ?? this.language;
      this.home = told.home ?? this.home;
      if (typeof told.seconds !== "number") return;
      const ends = Date.now() + told.seconds * 1000;
      // Later than was said before: what was shown about it no longer holds.
      if (this.ends !== null && ends - this.ends > 90 * 1000) this.forget();
      this.ends = ends;
      this.by = told.left > 0 ? told.by : 0;
    }

    forget() {
      this.warned = Infinity;
      this.saved = false;
      if (this.shown) this.tools.Notification.dismiss(this.shown);
      this.shown = null;
    }

    async run() {
      for (;;) {
        try {
          await this.ask("GET");
        } catch {
          // Nobody answers: what was known before still holds.
        }
        await this.look();
        await new Promise((done) => setTimeout(done, this.pause() * 1000));
      }
    }

    left() {
      return this.ends === null ? Infinity : Math.max(0, (this.ends - Date.now()) / 1000);
    }

    pause() {
      const next = [...WARN, SAVE].map((each) => this.left() - each).filter((each) => each > 0);
      return Math.max(1, Math.min(MINUTE, ...next));
    }

    lookAtRoom() {
      const { Notification } = this.tools;
      const part = this.home.taken / this.home.size;
      const due = ROOM.findLastIndex((each) => part >= each);
      if (part < ROOM_AGAIN) this.full = -1;
      if (part < ROOM[0] && this.shownRoom) {
        Notification.dismiss(this.shownRoom);
        this.shownRoom = null;
      }
      if (due <= this.full) return;
      this.full = due;
      const text = this.texts.room[due](size(this.home.taken, this.locale), size(this.home.size, this.locale));
      if (this.shownRoom) Notification.dismiss(this.shownRoom);
      this.shownRoom = Notification.warning(text, { autoClose: false });
    }

    async look() {
      if (this.home !== null) this.lookAtRoom();
      const left = this.left();
      this.bar?.show(left <= WARN[0] ? this.texts.status(duration(left, this.locale)) : "");
      const due = WARN.filter((each) => left <= each).at(-1);
      if (due !== undefined && due < this.warned) {
        this.warned = due;
        this.warn(this.texts.kept);
      }
      if (left <= SAVE && !this.saved) {
        this.saved = true;
        this.warn((await this.saveAll()) ? this.texts.last : this.texts.unsaved);
      }
    }

    warn(what) {
      const { Notification } = this.tools;
      const text = `${this.texts.ends(duration(this.left(), this.locale), this.at())} ${what}`;
      // A click would close it, and what it says still holds.
      const kept = (act) => (event) => {
        event.preventDefault();
        act();
      };
      const actions = [{ label: this.texts.save, callback: kept(() => this.saveByHand()) }];
      if (this.by) {
        const label = this.texts.more(duration(this.by, this.locale));
        actions.unshift({ label, callback: kept(() => this.lengthen()), displayType: "accent" });
      }
      if (this.shown) Notification.dismiss(this.shown);
      // It stays until somebody closes it, or gets more time.
      this.shown = Notification.warning(text, { autoClose: false, actions });
    }

    async saveAll() {
      try {
        await this.app.commands.execute(SAVE_ALL);
        return true;
      } catch {
        return false;
      }
    }

    async saveByHand() {
      const { Notification } = this.tools;
      if (await this.saveAll()) Notification.success(this.texts.saved, { autoClose: 5000 });
      else Notification.error(this.texts.unsaved, { autoClose: false });
    }

    async lengthen() {
      const { Notification } = this.tools;
      try {
        await this.ask("POST");
      } catch (error) {
        Notification.error(error.status === 409 ? this.texts.none : this.texts.silent, { autoClose: false });
        if (error.status === 409) this.by = 0;
        return;
      }
      this.forget();
      Notification.success(this.texts.until(this.at()), { autoClose: 10000 });
      await this.look();
    }
  }

  // What is left, always in sight in the last quarter of an hour; read out only when somebody goes there.
  function place(Widget, statusBar) {
    const widget = new Widget();
    widget.addClass("jp-StatusBar-TextItem");
    widget.hide();
    statusBar.registerStatusItem(`${NAME}:left`, { item: widget, align: "right", rank: 0 });
    return {
      show: (text) => {
        widget.node.textContent = text;
        widget.setHidden(!text);
      },
    };
  }

  async function plugin() {
    const { IStatusBar } = await module("@jupyterlab/statusbar");
    return {
      id: `${NAME}:plugin`,
      description: "Says in time that the server is going to end.",
      autoStart: true,
      optional: [IStatusBar],
      activate: async (app, statusBar) => {
        const [{ Notification }, { ServerConnection }, { URLExt }, { Widget }] = await Promise.all(
          ["@jupyterlab/apputils", "@jupyterlab/services", "@jupyterlab/coreutils", "@lumino/widgets"].map(module),
        );
        const watch = new Watch(
          app, { Notification, ServerConnection, URLExt }, statusBar ? place(Widget, statusBar) : null,
        );
        app.restored.then(() => watch.run());
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB[NAME] = {
    init: (scope) => {
      shared = scope;
    },
    get: async (name) => {
      if (name !== "./extension") throw new Error(`${NAME} has no ${name}`);
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
