# Build: the whole workspace is one package, so dependencies and program are built in one go; the cache mounts keep
# what was built last time.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin larder && cp target/release/larder /usr/local/bin/larder

FROM debian:bookworm-slim
# For https upstreams: the roots of the system.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin larder
COPY --from=build /usr/local/bin/larder /usr/local/bin/larder
USER 10001
EXPOSE 8080 8081
# Health is at /health/live and /health/ready of the admin listener: let what runs the container ask there. The image
# has no HTTP client, so it has no HEALTHCHECK of its own.
ENTRYPOINT ["larder"]
CMD ["run", "-c", "/etc/larder/larder.toml"]
