/** The dashboard of frps. */
import { start } from "./shared/layout.js";
import { t } from "./shared/i18n.js";
import { ClientDetail } from "./pages/client.js";
import { Clients } from "./pages/clients.js";
import { Overview } from "./pages/overview.js";
import { Proxies } from "./pages/proxies.js";
import { ProxyDetail } from "./pages/proxy.js";
import texts from "./texts.js";

start({
  badge: () => t("app.badge"),
  navigation: () => [
    { id: "overview", href: "#/", icon: "overview", label: t("nav.overview") },
    { id: "clients", href: "#/clients", icon: "client", label: t("nav.clients") },
    { id: "proxies", href: "#/proxies", icon: "proxy", label: t("nav.proxies") },
  ],
  routes: [
    { path: "/", page: Overview, nav: "overview" },
    { path: "/clients", page: Clients, nav: "clients" },
    { path: "/clients/:clientKey", page: ClientDetail, nav: "clients" },
    { path: "/proxies/:type?", page: Proxies, nav: "proxies" },
    { path: "/proxy/:name", page: ProxyDetail, nav: "proxies" },
  ],
  texts,
});
