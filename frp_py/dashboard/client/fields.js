/**
 * What can be set on a proxy or a visitor, as data: the forms, the read-only details and the rules of both are made from it.
 *
 * A field is {path, kind, when?, required?, hint?, choices?, blank?, fixed?, on?, min?, max?, placeholder?, wide?}; `path` is where its value lies in a definition's block, in the keys of the
 * configuration file. Kinds: text, secret, number, check, choice, list (of texts), map (of texts), headers (of {name, value}).
 */

export const PROXY_TYPES = ["tcp", "udp", "http", "https", "tcpmux", "stcp", "sudp", "xtcp"];
export const VISITOR_TYPES = ["stcp", "sudp", "xtcp"];
export const PLUGINS = [
  "http_proxy", "socks5", "static_file", "unix_domain_socket", "http2http",
  "http2https", "https2http", "https2https", "tls2raw", "virtual_net",
];
export const NAME_LIMIT = 50;

const DOMAINS = ["http", "https", "tcpmux"];
const SECRET = ["stcp", "sudp", "xtcp"];
const FORWARD = ["http2http", "http2https", "https2http", "https2https"];
const WITH_CERTIFICATE = ["https2http", "https2https", "tls2raw"];

const typed = (...types) => (block) => types.includes(block.type);
const plugged = (...plugins) => (block) => plugins.includes(block.plugin?.type);
const checked = (...kinds) => (block) => (kinds.length ? kinds.includes(block.healthCheck?.type) : Boolean(block.healthCheck?.type));
const limited = (block) => Boolean(block.transport?.bandwidthLimit);

const text = (path, when, more) => ({ path, kind: "text", when, ...more });
const secret = (path, when) => ({ path, kind: "secret", when });
const number = (path, when, more) => ({ path, kind: "number", when, ...more });
const check = (path, when, more) => ({ path, kind: "check", when, ...more });
const choice = (path, choices, when, more) => ({ path, kind: "choice", choices, when, ...more });
const list = (path, when, more) => ({ path, kind: "list", when, ...more });
const map = (path, when) => ({ path, kind: "map", when, wide: true });

const PORT = { min: 0, max: 65535 };

/** Sections of a proxy's form and detail: {id, fields}; "base" and the choice of a backend are the pages' own. */
export const PROXY_SECTIONS = [
  {
    id: "remote",
    fields: [
      number("remotePort", typed("tcp", "udp"), { ...PORT, hint: true }),
      list("customDomains", typed(...DOMAINS), { hint: true }),
      text("subdomain", typed(...DOMAINS), { hint: true }),
      choice("multiplexer", ["httpconnect"], typed("tcpmux"), { fixed: true }),
    ],
  },
  {
    id: "backend",
    fields: [
      text("localIP", (b) => !b.plugin, { placeholder: "127.0.0.1" }),
      number("localPort", (b) => !b.plugin, { ...PORT, required: true }),
      text("plugin.localPath", plugged("static_file"), { required: true, placeholder: "/srv/files" }),
      text("plugin.stripPrefix", plugged("static_file"), { hint: true }),
      text("plugin.unixPath", plugged("unix_domain_socket"), { required: true, placeholder: "/var/run/service.sock" }),
      text("plugin.localAddr", plugged(...FORWARD, "tls2raw"), { required: true, placeholder: "127.0.0.1:8080" }),
      text("plugin.httpUser", plugged("http_proxy", "static_file")),
      secret("plugin.httpPassword", plugged("http_proxy", "static_file")),
      text("plugin.username", plugged("socks5")),
      secret("plugin.password", plugged("socks5")),
      text("plugin.hostHeaderRewrite", plugged(...FORWARD)),
      check("plugin.enableHTTP2", plugged("https2http", "https2https"), { on: true }),
      text("plugin.crtPath", plugged(...WITH_CERTIFICATE), { hint: true }),
      text("plugin.keyPath", plugged(...WITH_CERTIFICATE)),
      map("plugin.requestHeaders.set", plugged(...FORWARD)),
    ],
  },
  {
    id: "authentication",
    fields: [
      text("httpUser", typed("http", "tcpmux")),
      secret("httpPassword", typed("http", "tcpmux")),
      text("routeByHTTPUser", typed("http", "tcpmux"), { hint: true }),
      secret("secretKey", typed(...SECRET)),
      list("allowUsers", typed(...SECRET), { hint: true }),
    ],
  },
  {
    id: "http",
    fields: [
      list("locations", typed("http"), { hint: true }),
      text("hostHeaderRewrite", typed("http")),
      map("requestHeaders.set", typed("http")),
      map("responseHeaders.set", typed("http")),
    ],
  },
  {
    id: "transport",
    folded: true,
    fields: [
      check("transport.useEncryption"),
      check("transport.useCompression"),
      text("transport.bandwidthLimit", null, { placeholder: "1MB", hint: true }),
      choice("transport.bandwidthLimitMode", ["", "client", "server"], limited),
      choice("transport.proxyProtocolVersion", ["", "v1", "v2"], null, { blank: "form.none" }),
    ],
  },
  {
    id: "healthCheck",
    folded: true,
    fields: [
      choice("healthCheck.type", ["", "tcp", "http"], null, { blank: "form.none" }),
      text("healthCheck.path", checked("http"), { required: true, placeholder: "/health" }),
      number("healthCheck.intervalSeconds", checked(), { min: 0, placeholder: "10" }),
      number("healthCheck.timeoutSeconds", checked(), { min: 0, placeholder: "3" }),
      number("healthCheck.maxFailed", checked(), { min: 0, placeholder: "1" }),
      { path: "healthCheck.httpHeaders", kind: "headers", when: checked("http"), wide: true },
    ],
  },
  {
    id: "loadBalancer",
    folded: true,
    fields: [
      text("loadBalancer.group", typed("tcp", "http", "https", "tcpmux"), { hint: true }),
      secret("loadBalancer.groupKey", typed("tcp", "http", "https", "tcpmux")),
    ],
  },
  { id: "nat", folded: true, fields: [check("natTraversal.disableAssistedAddrs", typed("xtcp"), { hint: true })] },
  { id: "metadata", folded: true, fields: [map("metadatas"), map("annotations")] },
];

/** The same for visitors. */
export const VISITOR_SECTIONS = [
  {
    id: "connection",
    fields: [
      text("serverName", null, { required: true, hint: true }),
      text("serverUser", null, { hint: true }),
      secret("secretKey"),
      text("bindAddr", null, { placeholder: "127.0.0.1" }),
      number("bindPort", null, { required: true, min: -1, max: 65535, hint: true }),
    ],
  },
  { id: "transport", folded: true, fields: [check("transport.useEncryption"), check("transport.useCompression")] },
  {
    id: "xtcp",
    fields: [
      choice("protocol", ["", "quic", "kcp"], typed("xtcp")),
      check("keepTunnelOpen", typed("xtcp")),
      number("maxRetriesAnHour", typed("xtcp"), { min: 0, placeholder: "8" }),
      number("minRetryInterval", typed("xtcp"), { min: 0, placeholder: "90" }),
      text("fallbackTo", typed("xtcp"), { hint: true }),
      number("fallbackTimeoutMs", typed("xtcp"), { min: 0, placeholder: "1000" }),
      check("natTraversal.disableAssistedAddrs", typed("xtcp"), { hint: true }),
    ],
  },
  {
    id: "plugin",
    folded: true,
    fields: [
      choice("plugin.type", ["", "virtual_net"], typed("stcp", "xtcp"), { blank: "form.none" }),
      text("plugin.destinationIP", plugged("virtual_net"), { required: true, placeholder: "100.86.0.1" }),
    ],
  },
];

/** The sections of a kind ("proxy" or "visitor"). */
export const sectionsOf = (kind) => (kind === "proxy" ? PROXY_SECTIONS : VISITOR_SECTIONS);

/** The types of a kind. */
export const typesOf = (kind) => (kind === "proxy" ? PROXY_TYPES : VISITOR_TYPES);

/** Whether a field means anything for this block. */
export const applies = (field, block) => !field.when || field.when(block);

/** The value at a path like "plugin.localAddr"; undefined when there is none. */
export function valueAt(block, path) {
  return path.split(".").reduce((at, key) => at?.[key], block);
}

/** A copy of the block with another value at the path; the tables on the way to it are made. */
export function withValue(block, path, value) {
  const dot = path.indexOf(".");
  if (dot < 0) return { ...block, [path]: value };
  const key = path.slice(0, dot);
  return { ...block, [key]: withValue(block[key] ?? {}, path.slice(dot + 1), value) };
}

const empty = (value) =>
  value === undefined || value === null || value === "" || value === false || Number.isNaN(value) ||
  (Array.isArray(value) && value.length === 0) || (typeof value === "object" && !Array.isArray(value) && Object.keys(value).length === 0);

// An empty text says something in a map, so these are not looked into.
const MAPS = new Set([...PROXY_SECTIONS, ...VISITOR_SECTIONS].flatMap(({ fields }) => fields.filter(({ kind }) => kind === "map").map(({ path }) => path)));

function pruned(value, path = "") {
  if (Array.isArray(value) || typeof value !== "object" || value === null || MAPS.has(path)) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, pruned(item, path ? `${path}.${key}` : key)]);
  return Object.fromEntries(entries.filter(([, item]) => !empty(item)));
}

/** What a field's value is when nothing was set. */
function unset(field, value) {
  if (field.on) return value !== false;
  return empty(value) || value === 0;
}

const tidy = {
  text: (value) => String(value).trim(),
  list: (value) => value.map((item) => item.trim()).filter(Boolean),
  headers: (value) => value.filter((header) => header.name.trim()).map(({ name, value }) => ({ name: name.trim(), value })),
};

/**
 * The definition that is sent: {name, type, [type]: block}. Only what was set is written; members that no field knows stay as they were,
 * those of fields that don't apply (any more) go.
 */
export function definitionOf(kind, block) {
  let result = pruned(block);
  for (const { fields } of sectionsOf(kind)) {
    for (const field of fields) {
      let value = valueAt(result, field.path);
      if (value === undefined) continue;
      if (tidy[field.kind]) value = tidy[field.kind](value);
      result = withValue(result, field.path, applies(field, block) && !unset(field, value) ? value : undefined);
    }
  }
  result = kept(pruned(result), block);
  return { name: result.name, type: result.type, [result.type]: result };
}

/** `false` says something for these two, so it is written. */
function kept(result, block) {
  if (block.enabled === false) result.enabled = false;
  if (block.plugin?.enableHTTP2 === false && result.plugin && plugged("https2http", "https2https")(block)) result.plugin.enableHTTP2 = false;
  result.name = block.name.trim();
  return result;
}

/** The block of a definition, ready for a form. */
export function blockOf(definition) {
  const block = { ...definition[definition.type], name: definition.name, type: definition.type };
  if (!block.plugin?.type) delete block.plugin;
  return block;
}

/** A new one's block. */
export const newBlock = (kind) =>
  kind === "proxy" ? { name: "", type: "tcp", localIP: "127.0.0.1" } : { name: "", type: "stcp", bindAddr: "127.0.0.1" };

const BANDWIDTH = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(MB|KB)$/;

function fault(field, block) {
  const value = valueAt(block, field.path);
  if (field.required && (field.kind === "number" ? !value : !String(value ?? "").trim())) return "fault.required";
  if (field.kind === "number" && value !== undefined) {
    if (!Number.isInteger(value)) return "fault.integer";
    if (field.min !== undefined && (value < field.min || value > (field.max ?? Infinity))) return field.max ? "fault.range" : "fault.negative";
  }
  return undefined;
}

function proxyFaults(block, faults) {
  const domains = (block.customDomains ?? []).filter((domain) => domain.trim());
  if (DOMAINS.includes(block.type) && domains.length === 0 && !block.subdomain?.trim()) faults.customDomains = "fault.domain";
  const limit = block.transport?.bandwidthLimit?.trim();
  if (limit && !BANDWIDTH.test(limit)) faults["transport.bandwidthLimit"] = "fault.bandwidth";
}

/** What keeps a block from being saved: {path: key of the text that says so}. */
export function faultsOf(kind, block) {
  const faults = {};
  const name = block.name.trim();
  if (!name) faults.name = "fault.required";
  else if ([...name].length > NAME_LIMIT) faults.name = "fault.nameTooLong";
  for (const { fields } of sectionsOf(kind)) {
    for (const field of fields) {
      const found = applies(field, block) && fault(field, block);
      if (found) faults[field.path] = found;
    }
  }
  if (kind === "proxy") proxyFaults(block, faults);
  else if (block.type === "sudp" && block.bindPort < 0) faults.bindPort = "fault.positive";
  return faults;
}

/** Of a status text, the pill it belongs to. */
export function pillOf(status) {
  if (status === "running") return "running";
  return status === "start error" || status === "check failed" ? "error" : "waiting";
}
