/** The dashboard of frpc. */
import { start } from "./shared/layout.js";
import { t } from "./shared/i18n.js";
import texts from "./texts.js";
import { ConfigPage } from "./pages/config.js";
import { ProxyDetail, VisitorDetail } from "./pages/detail.js";
import { CreateProxy, CreateVisitor, EditProxy, EditVisitor } from "./pages/form.js";
import { LogPage } from "./pages/log.js";
import { Proxies } from "./pages/proxies.js";
import { Visitors } from "./pages/visitors.js";

start({
  badge: () => t("app.badge"),
  navigation: () => [
    { id: "proxies", href: "#/proxies", icon: "proxy", label: t("nav.proxies") },
    { id: "visitors", href: "#/visitors", icon: "visitor", label: t("nav.visitors") },
    { id: "config", href: "#/config", icon: "config", label: t("nav.config") },
    { id: "log", href: "#/log", icon: "log", label: t("nav.log") },
  ],
  routes: [
    { path: "/", page: Proxies, nav: "proxies" },
    { path: "/proxies", page: Proxies, nav: "proxies" },
    { path: "/proxies/create", page: CreateProxy, nav: "proxies" },
    { path: "/proxies/detail/:name", page: ProxyDetail, nav: "proxies" },
    { path: "/proxies/:name/edit", page: EditProxy, nav: "proxies" },
    { path: "/visitors", page: Visitors, nav: "visitors" },
    { path: "/visitors/create", page: CreateVisitor, nav: "visitors" },
    { path: "/visitors/detail/:name", page: VisitorDetail, nav: "visitors" },
    { path: "/visitors/:name/edit", page: EditVisitor, nav: "visitors" },
    { path: "/config", page: ConfigPage, nav: "config" },
    { path: "/log", page: LogPage, nav: "log" },
  ],
  texts,
});
