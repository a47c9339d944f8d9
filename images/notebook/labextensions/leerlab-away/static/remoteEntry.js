/* What a learner is told while this server cannot be reached, in the place of "Server unavailable or unreachable ... Would
 * you like to restart it?" (@jupyterlab/hub-extension:connectionlost, which config/base switches off): that question
 * comes in every upgrade of a site, although the server runs on and comes back by itself.
 *
 * Away for a moment: nothing is said. Longer: a bar at the foot of the page, until it is back. Really stopped, which is
 * when the hub answers in its place (424, or a way to a page of its own): a dialog that leads to that page, with the
 * reason and the button to start again.
 * The bar is no notification of JupyterLab's, because those load their code when the first one is shown.
 * Written by hand, as leerlab-save is.
 */
(() => {
  "use strict";
  const NAME = "leerlab-away";
  const ASK_MS = 2000;
  const QUIET = 2;
  // So many times in a row: a hub that has just begun may not have put the way to this server back yet.
  const STOPPED = 12;
  const NOT_RUNNING = 424;
  let shared = {};

  const BACK_MS = 5000;
  const LOOK =
    "position:fixed;left:50%;bottom:2.5rem;transform:translateX(-50%);z-index:10000;max-width:min(40rem,calc(100vw - 2rem));" +
    "padding:0.75rem 1rem;border-radius:6px;font-size:14px;line-height:1.4;box-shadow:0 4px 16px rgb(0 0 0 / 35%);" +
    "background:#1f2a2e;color:#ffffff;font-family:var(--jp-ui-font-family)";
  const TEXTS = {
    nl: {
      away: "De verbinding is even weg. Je werkplek draait door en komt vanzelf terug. Wat je typt, blijft staan.",
      back: "De verbinding is er weer.",
      title: "Je werkplek draait niet meer",
      body: "Wat je hebt opgeslagen, is veilig. Op de volgende pagina staat waarom, en kun je opnieuw starten.",
      go: "Naar die pagina",
      stay: "Hier blijven",
    },
    en: {
      away: "The connection is gone for a moment. Your workplace runs on and comes back by itself. What you type stays.",
      back: "The connection is back.",
      title: "Your workplace no longer runs",
      body: "What you saved is safe. The next page says why, and there you can start again.",
      go: "Go to that page",
      stay: "Stay here",
    },
  };

  async function module(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  function pause() {
    return new Promise((done) => setTimeout(done, ASK_MS));
  }

  /** A bar at the foot of the page; read out when it comes. */
  function bar(text) {
    const node = document.createElement("div");
    node.className = NAME;
    node.setAttribute("role", "status");
    node.style.cssText = LOOK;
    document.body.append(node);
    node.textContent = text;
    return node;
  }

  class Away {
    constructor(tools, info, texts) {
      Object.assign(this, { tools, info, texts });
      this.watching = false;
    }

    /** The status of an answer of this server, or of what stands before it; 0 when there is none. */
    async status() {
      const { ServerConnection, URLExt } = this.tools;
      const address = URLExt.join(ServerConnection.makeSettings().baseUrl, "api");
      try {
        const answer = await fetch(address, { redirect: "manual", cache: "no-store" });
        return answer.type === "opaqueredirect" ? NOT_RUNNING : answer.status;
      } catch {
        return 0;
      }
    }

    async lost() {
      if (this.watching) return;
      this.watching = true;
      if (this.info) this.info.isConnected = false;
      try {
        if (!(await this.isBack())) await this.stopped();
      } finally {
        if (this.info) this.info.isConnected = true;
        this.watching = false;
      }
    }

    /** Waits until the server answers (true), or the hub keeps saying that it does not run (false). */
    async isBack() {
      let shown = null;
      let stopped = 0;
      try {
        for (let asked = 0; ; asked += 1) {
          const status = await this.status();
          if (status === 200) {
            if (shown) {
              const back = bar(this.texts.back);
              setTimeout(() => back.remove(), BACK_MS);
            }
            return true;
          }
          stopped = status === NOT_RUNNING ? stopped + 1 : 0;
          if (stopped >= STOPPED) return false;
          if (!shown && asked >= QUIET) shown = bar(this.texts.away);
          await pause();
        }
      } finally {
        shown?.remove();
      }
    }

    async stopped() {
      const { Dialog, showDialog } = this.tools;
      const { title, body, go, stay } = this.texts;
      const buttons = [Dialog.cancelButton({ label: stay }), Dialog.okButton({ label: go })];
      const { button } = await showDialog({ title, body, buttons });
      if (button.accept) window.location.reload();
      // Whoever stays is not asked again and again; the next page they open, or a reload, tells them.
      else await new Promise(() => undefined);
    }
  }

  async function plugin() {
    const [{ IConnectionLost, JupyterLab }, { ITranslator }] = await Promise.all(
      ["@jupyterlab/application", "@jupyterlab/translation"].map(module),
    );
    return {
      id: `${NAME}:plugin`,
      description: "Says when the site is away for a moment, and when it is back.",
      autoStart: true,
      provides: IConnectionLost,
      optional: [JupyterLab.IInfo, ITranslator],
      activate: async (_app, info, translator) => {
        const [{ Dialog, showDialog }, { ServerConnection }, { URLExt }] = await Promise.all(
          ["@jupyterlab/apputils", "@jupyterlab/services", "@jupyterlab/coreutils"].map(module),
        );
        const language = (translator?.languageCode ?? "nl").startsWith("nl") ? "nl" : "en";
        const tools = { Dialog, showDialog, ServerConnection, URLExt };
        const away = new Away(tools, info, TEXTS[language]);
        return () => away.lost();
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
