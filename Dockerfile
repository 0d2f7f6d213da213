# proxmox-mcp: one static binary in an empty image.
#
#   docker build -t proxmox-mcp .
#
# From a binary that is already built (static, in the folder CONTEXT; nothing is pulled then):
#
#   docker build -t proxmox-mcp -f Dockerfile --build-arg BINARY_FROM=prebuilt CONTEXT

# Which of the two stages below gives the binary; the other one is skipped.
ARG BINARY_FROM=builder

FROM docker.io/library/rust:1-alpine AS builder
# ring compiles C and assembly. Alpine's own target is musl, so what comes out is static.
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/proxmox-mcp /proxmox-mcp

FROM scratch AS prebuilt
COPY proxmox-mcp /proxmox-mcp

FROM ${BINARY_FROM} AS binary

FROM scratch
LABEL org.opencontainers.image.title="proxmox-mcp" \
      org.opencontainers.image.description="Proxmox VE clusters for language models, over the Model Context Protocol" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=binary /proxmox-mcp /proxmox-mcp
# The configuration is looked for at /etc/proxmox-mcp/clusters.json: mount it there, readable by user 65532.
#
# Inside a container loopback is nobody's address. Who may connect is decided by what is published (compose.yaml), by
# MCP_ALLOWED_HOSTS and by the clients' tokens, without one of which it does not start (MCP_AUTH_TOKEN; `docker run --rm
# proxmox-mcp token` makes one). For TLS mount a certificate and its key and name them (MCP_TLS_CERT, MCP_TLS_KEY): the
# health check speaks what the port speaks.
ENV PROXMOX_MCP_LISTEN=0.0.0.0:8000
EXPOSE 8000
# A number: an empty image has no /etc/passwd to look a name up in.
USER 65532:65532
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/proxmox-mcp", "health"]
ENTRYPOINT ["/proxmox-mcp"]
