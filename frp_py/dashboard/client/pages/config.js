/** The configuration file, edited in place. */
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../shared/base.js";
import { get, post, put, useQuery } from "../shared/api.js";
import { number, printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { useGuard, useTitle } from "../shared/router.js";
import { Badge, Button, Card, Empty, Failure, Loading, Name, Page, Switch, confirm } from "../shared/ui.js";
import { Editor, lineCount, showPlace } from "../editor.js";
import { LinkNotice, reload } from "../link.js";
import { useSettled, useStatus } from "../live.js";

const CHECK_AFTER = 500;

const mayLeave = () => confirm({ title: t("form.leaveTitle"), text: t("form.leaveText"), action: t("form.leave"), danger: true });

/** What the program says of a text once the typing rests: {ok, error, line, …}, null while it is not known. */
function useCheck(text) {
  const settled = useSettled(text, CHECK_AFTER);
  const [found, setFound] = useState({ text: null, answer: null });
  useEffect(() => {
    if (settled === null) return undefined;
    const abort = new AbortController();
    post("api/x/config/check", { body: settled, signal: abort.signal }).then(
      (answer) => setFound({ text: settled, answer }),
      (error) => abort.signal.aborted || setFound({ text: settled, answer: { unchecked: true, error: error.message } }),
    );
    return () => abort.abort();
  }, [settled]);
  return found.text === text ? found.answer : null;
}

function Verdict({ answer, id, area }) {
  if (!answer) return html`<p class="verdict" id=${id}><span class="spinner" aria-hidden="true" /><span>${t("config.checking")}</span></p>`;
  if (answer.ok) return html`<p class="verdict" id=${id}><${Badge} tone="ok" dot>${t("config.valid")}<//></p>`;
  return html`<div class="verdict" id=${id}>
    <${Badge} tone=${answer.unchecked ? "warn" : "bad"} dot>${t(answer.unchecked ? "config.unchecked" : "config.invalid")}<//>
    <span class="error-text">${printable(answer.error)}</span>
    ${answer.line && html`<${Button} small onClick=${() => showPlace(area.current, answer.line, answer.column)}>${t("config.goto", { line: number(answer.line) })}<//>`}
  </div>`;
}

/** Saves after asking; the question tells of an error in the text and of changes that somebody else made meanwhile. */
async function askToSave({ text, loaded, file, faulty }) {
  const foreign = (await get("api/config")) !== loaded;
  const warnings = [faulty && t("config.updateFaulty"), foreign && t("config.updateOverwrites")].filter(Boolean);
  return confirm({
    title: t("config.updateTitle"),
    text: [t("config.updateText", { file: printable(file) }), ...warnings].join(" "),
    action: t("config.update"),
    danger: warnings.length > 0,
    run: () => put("api/config", { body: text }),
  });
}

function Workbench({ original, file, renew }) {
  const why = useReadOnly();
  const [loaded, setLoaded] = useState(original);
  const [text, setText] = useState(original);
  const [strict, setStrict] = useState(true);
  const area = useRef(null);
  const dirty = text !== loaded;
  const answer = useCheck(text);
  useGuard(dirty, mayLeave);
  const update = useCallback(async () => {
    if (!(await askToSave({ text, loaded, file, faulty: answer?.ok === false }))) return;
    setLoaded(text);
    renew();
    await reload(strict);
  }, [text, loaded, file, answer, strict]);
  useEffect(() => {
    const save = (event) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      if (!why && dirty) update();
    };
    document.addEventListener("keydown", save);
    return () => document.removeEventListener("keydown", save);
  }, [update, why, dirty]);
  const lines = useMemo(() => lineCount(text), [text]);
  return html`<${Card} flush title=${html`<${Name} text=${file} class="mono wrap" />`} note=${html` ${t("config.size", { n: lines })}`}
    actions=${html`${dirty && html`<${Badge} tone="warn" dot>${t("config.unsaved")}<//>`}
      <${Button} small disabled=${!dirty} onClick=${() => setText(loaded)}>${t("config.revert")}<//>`}>
    <${Editor} text=${text} onInput=${setText} label=${t("config.editor")} area=${area} mark=${answer?.line} describedBy="verdict" readOnly=${Boolean(why)} />
    <div class="editor-foot">
      <div class="verdict-box" role="status" aria-live="polite"><${Verdict} answer=${answer} id="verdict" area=${area} /></div>
      <${Switch} label=${t("config.strict")} value=${strict} onChange=${setStrict} />
      <${Button} kind="primary" icon="refresh" why=${why} onClick=${update}>${t("config.update")}<//>
    </div>
  <//>`;
}

/** #/config */
export function ConfigPage() {
  useTitle(t("config.title"));
  const { status } = useStatus();
  const { data, error, loading, reload: load } = useQuery("api/config");
  const [original, setOriginal] = useState(null);
  useEffect(() => {
    // Later answers don't replace what is being edited.
    if (!loading && !error && original === null) setOriginal(data ?? "");
  }, [data, loading, error]);
  const body = () => {
    if (original !== null) return html`<${Workbench} original=${original} file=${status?.configFile || "frpc.toml"} renew=${load} />`;
    if (error?.status === 400) return html`<${Card}><${Empty} icon="config" title=${t("config.none")}>${error.message}<//><//>`;
    return html`<${Card}>${error ? html`<${Failure} error=${error} retry=${load} />` : html`<${Loading} lines=${8} />`}<//>`;
  };
  return html`<${Page} title=${t("config.title")}><${LinkNotice} status=${status} />${body()}<//>`;
}
