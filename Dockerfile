# docker build --build-arg VERSION=$(git describe --tags --always) -t ratebook .
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=unversioned TARGETOS TARGETARCH
# the flags of `make build`
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags="-s -w -X ratebook/app.version=$VERSION" -o /out/ratebook . \
    && mkdir /out/data

# certificates, a user other than root, nothing else: no shell, no package manager
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/ratebook /usr/local/bin/ratebook
COPY --from=build --chown=nonroot:nonroot /out/data /data
# A container is reached from outside it, unlike the default 127.0.0.1. For PostgreSQL set another database URL.
ENV RATEBOOK_LISTEN=0.0.0.0:8080 RATEBOOK_DATABASE_URL=sqlite:///data/ratebook.db
VOLUME /data
EXPOSE 8080
# No HEALTHCHECK, which would need a shell: have the orchestrator ask /healthz and /readyz.
ENTRYPOINT ["/usr/local/bin/ratebook"]
CMD ["serve"]
