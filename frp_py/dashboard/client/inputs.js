/** The controls of the forms, one for each kind of field. */
import { html, useId, useState } from "./shared/base.js";
import { t } from "./shared/i18n.js";
import { Button, Field, SelectField, Switch, TextField } from "./shared/ui.js";
import { valueAt } from "./fields.js";

/** A whole number, or the text as it is: the rules say what is wrong with it. */
const numberOf = (text) => (text.trim() === "" ? undefined : /^[+-]?\d+$/.test(text.trim()) ? Number(text) : text);

function SecretField({ value, onChange, ...field }) {
  const [shown, setShown] = useState(false);
  return html`<${Field} ...${field}>
    ${(props) => html`<span class="with-button">
      <input ...${props} type=${shown ? "text" : "password"} value=${value ?? ""} autocomplete="new-password" spellcheck=${false} onInput=${(event) => onChange(event.target.value)} />
      <${Button} kind="ghost" icon="eye" label=${`${t(shown ? "detail.hide" : "detail.show")}: ${field.label}`} aria-pressed=${shown} onClick=${() => setShown(!shown)} />
    </span>`}
  <//>`;
}

/** Rows of inputs that can be added and removed; `row(item, set, n)` draws the inputs of one. */
function Rows({ label, hint, error, items, blank, onChange, row }) {
  const id = useId();
  const set = (at) => (item) => onChange(items.map((old, n) => (n === at ? item : old)));
  const remove = (at) => () => onChange(items.filter((_, n) => n !== at));
  const added = (event) => {
    const group = event.currentTarget.closest("fieldset");
    onChange([...items, blank]);
    requestAnimationFrame(() => requestAnimationFrame(() => [...group.querySelectorAll(".rows > li")].at(-1)?.querySelector("input").focus()));
  };
  return html`<fieldset class=${error ? "field rows-field wrong" : "field rows-field"} aria-describedby=${error || hint ? `${id}-note` : undefined}>
    <legend>${label}</legend>
    <ul class="rows">${items.map((item, at) => html`<li key=${at}>
      ${row(item, set(at), at + 1)}
      <${Button} kind="ghost" icon="close" label=${`${t("form.removeItem")}: ${t("form.itemOf", { field: label, n: at + 1 })}`} onClick=${remove(at)} />
    </li>`)}</ul>
    <${Button} small icon="plus" aria-label=${`${t("form.addItem")}: ${label}`} onClick=${added}>${t("form.addItem")}<//>
    ${(error || hint) && html`<p class="field-note" id=${`${id}-note`} role=${error ? "alert" : undefined}>${error || hint}</p>`}
  </fieldset>`;
}

const input = (value, onChange, label, placeholder) =>
  html`<input value=${value} aria-label=${label} placeholder=${placeholder} autocomplete="off" spellcheck=${false} onInput=${(event) => onChange(event.target.value)} />`;

const ListField = ({ value, onChange, ...field }) => html`<${Rows} ...${field} items=${value ?? []} blank="" onChange=${onChange}
  row=${(item, set, n) => input(item, set, t("form.itemOf", { field: field.label, n }))} />`;

const pairInputs = (label) => ({ name, value }, set, n) => html`
  ${input(name, (next) => set({ name: next, value }), t("form.keyOf", { field: label, n }), t("form.key"))}
  ${input(value, (next) => set({ name, value: next }), t("form.valueOf", { field: label, n }), t("form.value"))}`;

const HeadersField = ({ value, onChange, ...field }) => html`<${Rows} ...${field} items=${value ?? []} blank=${{ name: "", value: "" }} onChange=${onChange} row=${pairInputs(field.label)} />`;

/** A map is edited as rows, so that a name may be empty or double while it is being typed. */
function MapField({ value, onChange, ...field }) {
  const [rows, setRows] = useState(() => Object.entries(value ?? {}).map(([name, text]) => ({ name, value: text })));
  const change = (next) => {
    setRows(next);
    onChange(Object.fromEntries(next.filter(({ name }) => name.trim()).map(({ name, value: text }) => [name.trim(), text])));
  };
  return html`<${Rows} ...${field} items=${rows} blank=${{ name: "", value: "" }} onChange=${change} row=${pairInputs(field.label)} />`;
}

const optionsOf = (field) => field.choices.map((id) => [id, id || t(field.blank ?? "form.default")]);

const CONTROLS = {
  text: (field, props) => html`<${TextField} ...${props} placeholder=${field.placeholder} />`,
  secret: (field, props) => html`<${SecretField} ...${props} />`,
  number: (field, { onChange, ...props }) => html`<${TextField} ...${props} placeholder=${field.placeholder} inputmode=${field.min < 0 ? undefined : "numeric"} onChange=${(text) => onChange(numberOf(text))} />`,
  check: (field, { label, hint, value, onChange }) => html`<${Switch} label=${label} hint=${hint} value=${field.on ? value !== false : Boolean(value)} onChange=${onChange} />`,
  choice: (field, props) => html`<${SelectField} ...${props} options=${optionsOf(field)} disabled=${field.fixed} />`,
  list: (field, props) => html`<${ListField} ...${props} />`,
  map: (field, props) => html`<${MapField} ...${props} />`,
  headers: (field, props) => html`<${HeadersField} ...${props} />`,
};

/** The control of a field of fields.js. `fault` is the text of what is wrong. */
export const Control = ({ field, block, fault, onChange }) => CONTROLS[field.kind](field, {
  label: t(`field.${field.path}`),
  hint: field.hint && t(`hint.${field.path}`),
  error: fault,
  required: field.required,
  value: valueAt(block, field.path),
  onChange,
});
