/* JupyterLab saves one document once at a time.
 *
 * JupyterLab 4 (docregistry, Context._maybeSave) reads the file's hash, writes the file, reads its hash again and only
 * then remembers it. A save that begins meanwhile (Ctrl+S while the document is just being saved by itself) takes the
 * first one's change for somebody else's, and stops the person with "File changed". Here the second waits for the first.
 *
 * A module-federation container written by hand, because there is nothing to bundle:
 * https://jupyterlab.readthedocs.io/en/stable/extension/extension_dev.html#prebuilt-extensions
 */
(() => {
  "use strict";
  const NAME = "leerlab-save";
  let shared = {};

  async function docregistry() {
    const [version] = Object.values(shared["@jupyterlab/docregistry"]);
    return (await version.get())();
  }

  function inTurn(save) {
    const last = new WeakMap();
    return function (...given) {
      const before = last.get(this) ?? Promise.resolve();
      const mine = before.catch(() => undefined).then(() => save.apply(this, given));
      last.set(this, mine);
      return mine;
    };
  }

  const plugin = {
    id: `${NAME}:plugin`,
    description: "Saves of one document wait for each other.",
    autoStart: true,
    activate: async () => {
      const { Context } = await docregistry();
      Context.prototype.save = inTurn(Context.prototype.save);
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
