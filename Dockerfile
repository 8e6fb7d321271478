# docker build --target frps -t frps . ; docker run -p 7000:7000 -p 6000:6000 -v ./frps.toml:/etc/frp/frps.toml:ro frps
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY frp_py frp_py
RUN python -m venv /opt/frp \
 && /opt/frp/bin/pip install --no-cache-dir --disable-pip-version-check . \
 && /opt/frp/bin/pip uninstall --yes pip \
 && /opt/frp/bin/python -m compileall -q /opt/frp/lib

FROM python:${PYTHON}-slim AS base
COPY --from=build /opt/frp /opt/frp
ENV PATH=/opt/frp/bin:$PATH
RUN mkdir /etc/frp /var/lib/frp && chown 65532:65532 /var/lib/frp
WORKDIR /var/lib/frp
USER 65532:65532

FROM base AS frps
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s CMD ["frps", "health", "-c", "/etc/frp/frps.toml"]
ENTRYPOINT ["frps"]
CMD ["-c", "/etc/frp/frps.toml"]

FROM base AS frpc
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s CMD ["frpc", "health", "-c", "/etc/frp/frpc.toml"]
ENTRYPOINT ["frpc"]
CMD ["-c", "/etc/frp/frpc.toml"]
