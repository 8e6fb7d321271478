/** Small line icons, drawn on a grid of 24. */
import { html } from "./base.js";

const PATHS = {
  alert: "M12 4 2.8 20h18.4L12 4Z M12 10v4.5 M12 17.3v.2",
  auto: "M12 4a8 8 0 1 0 0 16Z M12 4a8 8 0 0 1 0 16",
  check: "M5 12.5 10 17.5 19 7.5",
  chevron: "M9 6l6 6-6 6",
  client: "M4 5h16v11H4Z M9 20h6 M12 16v4",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Z M12 8v4.5l3 1.8",
  close: "M6 6l12 12 M18 6 6 18",
  config: "M4 7h9 M17 7h3 M4 17h3 M11 17h9 M15 4.8v4.4 M9 14.8v4.4",
  connections: "M4 8h13 M13.5 4.5 17 8l-3.5 3.5 M20 16H7 M10.5 12.5 7 16l3.5 3.5",
  copy: "M9 9h11v11H9Z M15 9V4H4v11h5",
  down: "M12 5v13 M6 12.5l6 6 6-6",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5Z M13 7.5l3.5 3.5",
  empty: "M4 13l3-8h10l3 8v6H4Z M4 13h5l1 2.5h4L15 13h5",
  external: "M14 5h5v5 M19 5l-8 8 M17 13.5V19H5V7h5.5",
  eye: "M2.5 12S6 5.8 12 5.8 21.5 12 21.5 12 18 18.2 12 18.2 2.5 12 2.5 12Z M12 9.3a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4Z",
  filter: "M4 5h16l-6.2 7.2V19l-3.6-2v-4.8Z",
  info: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Z M12 11v5 M12 8v.2",
  language: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Z M4.5 9.5h15 M4.5 14.5h15 M12 4c-5 5-5 11 0 16 M12 4c5 5 5 11 0 16",
  lock: "M6 11h12v9H6Z M8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  log: "M6 4h12v16H6Z M9 9h6 M9 13h6 M9 17h3",
  menu: "M4 7h16 M4 12h16 M4 17h16",
  moon: "M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7Z",
  more: "M6 12v.2 M12 12v.2 M18 12v.2",
  offline: "M3 9.5a13 13 0 0 1 4.5-2.7 M21 9.5A13 13 0 0 0 11 6.1 M6.5 13.2A8 8 0 0 1 10 11.3 M17.5 13.2a8 8 0 0 0-2.6-1.7 M12 18v.2 M4 4l16 16",
  overview: "M4 4h7v9H4Z M13 4h7v5h-7Z M13 11h7v9h-7Z M4 15h7v5H4Z",
  pause: "M8.5 5.5v13 M15.5 5.5v13",
  play: "M7.5 5v14l11-7Z",
  plus: "M12 5v14 M5 12h14",
  power: "M12 4v8 M7 7a7 7 0 1 0 10 0",
  proxy: "M4 7h4.5c5 0 3 10 8 10H20 M17 14l3 3-3 3 M4 17h4.5c1.3 0 2.1-.7 2.7-1.7 M17 4l3 3-3 3 M20 7h-3.5c-1.3 0-2.1.7-2.7 1.7",
  refresh: "M19.5 11A7.6 7.6 0 0 0 5.8 7.5L4 9.4 M4 4.8v4.6h4.6 M4.5 13a7.6 7.6 0 0 0 13.7 3.5l1.8-1.9 M20 19.2v-4.6h-4.6",
  reload: "M12 4v9 M8 9.5l4 4 4-4 M5 15v4.5h14V15",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12Z M15.5 15.5 20 20",
  sort: "M8 10l4-4 4 4 M8 14l4 4 4-4",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z M12 2.8v1.7 M12 19.5v1.7 M2.8 12h1.7 M19.5 12h1.7 M5.5 5.5l1.2 1.2 M17.3 17.3l1.2 1.2 M5.5 18.5l1.2-1.2 M17.3 6.7l1.2-1.2",
  traffic: "M8 19V6 M4.5 9.5 8 6l3.5 3.5 M16 5v13 M12.5 14.5 16 18l3.5-3.5",
  trash: "M5 7h14 M9.5 7V4.5h5V7 M7 7l.8 12.5h8.4L17 7 M10.3 11v5 M13.7 11v5",
  up: "M12 19V6 M6 11.5l6-6 6 6",
  visitor: "M12 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7Z M5 20c.6-3.6 3.2-5.5 7-5.5s6.4 1.9 7 5.5",
};

/** An icon by its name; it is decoration, so it needs a text beside it or a label around it. */
export const Icon = ({ name, size = 16, class: extra }) =>
  html`<svg class=${`icon ${extra ?? ""}`} viewBox="0 0 24 24" width=${size} height=${size} aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>`;
