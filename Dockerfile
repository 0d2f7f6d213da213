# proxmox-mcp: one static binary in an empty image.
#
#   docker build -t proxmox-mcp .
#
# With a static binary that is already built, in the folder CONTEXT (pulls nothing):
#
#   docker build -t proxmox-mcp -f Dockerfile --build-arg BINARY_FROM=prebuilt CONTEXT

# The stage that provides the binary: builder or prebuilt. The other one is skipped.
ARG BINARY_FROM=builder

FROM docker.io/library/rust:1-alpine AS builder
# ring and jemalloc compile C and assembly. Alpine's own target is musl, so the binary is static.
RUN apk add --no-cache make musl-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/proxmox-mcp /proxmox-mcp

FROM scratch AS prebuilt
COPY proxmox-mcp /proxmox-mcp

FROM ${BINARY_FROM} AS binary

# An empty folder. A volume that is mounted there gets its owner.
FROM scratch AS folders
WORKDIR /log

FROM scratch
LABEL org.opencontainers.image.title="proxmox-mcp" \
      org.opencontainers.image.description="Proxmox VE clusters for language models, over the Model Context Protocol" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      io.modelcontextprotocol.server.name="com.example/proxmox-mcp"
COPY --from=binary /proxmox-mcp /proxmox-mcp
COPY --from=folders --chown=65532:65532 /log /var/log/proxmox-mcp
# Mount the folder of clusters.json at /etc/proxmox-mcp, readable by user 65532. A mounted file would be the old one after
# an edit, since most editors replace a file.
#
# Loopback inside a container can't be reached from outside, so the server listens on all addresses. Access is limited by
# the published port (compose.yaml), MCP_ALLOWED_HOSTS and client tokens. The server does not start without a client
# ("clients" in clusters.json, or MCP_AUTH_TOKEN). For TLS, mount a folder with a certificate and its key and set
# MCP_TLS_CERT and MCP_TLS_KEY. The health check then uses TLS too.
ENV PROXMOX_MCP_LISTEN=0.0.0.0:8000 \
    PROXMOX_MCP_CONFIG=/etc/proxmox-mcp/clusters.json
EXPOSE 8000
# A number: an empty image has no /etc/passwd for names.
USER 65532:65532
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/proxmox-mcp", "health"]
ENTRYPOINT ["/proxmox-mcp"]
