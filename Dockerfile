# `docker build -t backupd .` compiles in a container and needs BuildKit and a registry.
# `make image` takes bin/backupd as it is and needs neither; both end in the same image.

FROM scratch AS base
LABEL org.opencontainers.image.title="backupd" \
      org.opencontainers.image.description="Backs up Docker volumes, and gives them back" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing else is in the image: CA roots and time zones are in the binary. It runs as root, as volumes belong to everybody.
ENTRYPOINT ["/usr/bin/backupd"]
CMD ["run"]

FROM base AS prebuilt
COPY bin/backupd /usr/bin/backupd

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN make build VERSION="$VERSION"

FROM base
COPY --from=build /src/bin/backupd /usr/bin/backupd
