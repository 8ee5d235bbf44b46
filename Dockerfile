# The image of `npm run image`, for those who build with Docker: docs/image.md. The build context is a checkout.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      ca-certificates curl hostname iproute2 libatomic1 mount nftables npm util-linux
WORKDIR /isthmus
COPY package.json package-lock.json ./
RUN npm ci --no-fund --no-audit --ignore-scripts && touch node_modules/.isthmus-installed
COPY . .
# Seconds since 1970 for the bill of materials: git log -1 --format=%ct
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH scripts/image.sh --rootfs /image

FROM scratch
# The system, the npm packages, the program.
COPY --from=build /image/1 /
COPY --from=build /image/2 /
COPY --from=build /image/3 /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_NO_WARNINGS=1 \
    NODE_USE_SYSTEM_CA=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 1337:1337
WORKDIR /
ENTRYPOINT ["/usr/bin/isthmus"]
