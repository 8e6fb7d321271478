"""What to do about an error, for people. The texts are those of config.md 4.6, behaviour.md 1.5 and the system."""

from __future__ import annotations

_ADVICE = (
    ("token in login doesn't match", "auth.token must be the same here and on the server"),
    ("is already online", "another client has this clientID: give each one its own"),
    ("register control error", "the server doesn't say why; its log does"),
    ("new proxy [", "the server doesn't say why; its log does"),
    ("transport.tcpMux", "transport.tcpMux must be the same here and on the server; or it is no frps that answers there"),
    ("no answer to the login", "is it really frps that listens there?"),
    ("did not answer the login", "is it really frps that listens there?"),
    ("certificate required", "the server wants a certificate: set transport.tls.certFile and keyFile"),
    ("bad certificate", "the server doesn't take our certificate: is it from the CA of its transport.tls.trustedCaFile?"),
    ("unknown ca", "the server doesn't take our certificate: is it from the CA of its transport.tls.trustedCaFile?"),
    ("hostname mismatch", "set transport.tls.serverName to a name that is in the server's certificate"),
    ("ip address mismatch", "set transport.tls.serverName to a name that is in the server's certificate"),
    ("has expired", "renew the server's certificate; or is the clock of this machine wrong?"),
    ("not yet valid", "is the clock of this machine wrong?"),
    ("failed to verify certificate", "transport.tls.trustedCaFile must be the CA that the server's certificate is from"),
    ("wrong version number", "it is no frps that answers there, or something in between doesn't let TLS through"),
    ("handshake with the server not finished", "is it really frps that listens there? Something else may not answer TLS at all"),
    ("record layer failure", "it is no frps that answers there, or something in between doesn't let TLS through"),
    ("unexpected eof", "the server ended the handshake: if its vhostHTTPSPort is its bindPort, set disableCustomTLSFirstByte = false"),
    ("refused", "nothing listens there: is the program running, and is it the right port?"),
    ("i/o timeout", "no answer at all: does a firewall keep the port closed, and is the address right?"),
    ("unreachable", "there is no way to that network: is this machine online?"),
    ("no route to host", "there is no way to that machine: is the address right?"),
    ("lookup", "the name is not known: is it spelled right, and does DNS work on this machine?"),
    ("port not allowed", "choose a remotePort that is among the server's allowPorts, or add it there"),
    ("port already used", "another proxy has that port: choose another remotePort, or 0 for any"),
    ("port unavailable", "another program on the server has that port: choose another remotePort"),
    ("no available port", "the server's allowPorts are used up"),
    ("exceed the max_ports_per_client", "the server allows each client only so many ports: see its maxPortsPerClient"),
    ("exceed the max_proxies_per_client", "the server allows each client only so many proxies: see its maxProxiesPerClient"),
    ("already exists", "another client has a proxy of this name: stop it, or change name or user"),
    ("is already in use", "another client has a proxy of this name: stop it, or change name or user"),
    ("vhost http port is not set", "the server serves no http proxies: set vhostHTTPPort there"),
    ("vhost https port is not set", "the server serves no https proxies: set vhostHTTPSPort there"),
    ("tcpmux with multiplexer", "the server serves no tcpmux proxies: set tcpmuxHTTPConnectPort there"),
    ("subdomain is not supported", "the server has no subDomainHost: set it there, or use customDomains (-d) here"),
    ("should not belong to subdomain host", "use subdomain instead of customDomains for names below the server's subDomainHost"),
    ("router config conflict", "another proxy has this domain and location"),
    ("permission denied", "this user may not do that: for ports below 1024, frps service install, or CAP_NET_BIND_SERVICE"),
)


def advice_for(error: str) -> str:
    """A sentence, or nothing when there is nothing to say that the error doesn't."""
    lowered = error.lower()
    return next((advice for text, advice in _ADVICE if text.lower() in lowered), "") if error else ""
