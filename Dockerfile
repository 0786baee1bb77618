# Build: docker build -t receiver .
# Run:   docker run -p 9080:9080 -v receiver-data:/data -v ./routing.yaml:/etc/receiver/routing.yaml:ro \
#          -e RECEIVER_WEBHOOK_TOKEN -e RECEIVER_API_TOKEN receiver
# It listens on every address, as a container must, so it starts only with both tokens set. Give it ten
# seconds to end (docker stop's default). No secret belongs in the image: they come by the environment, or
# mounted as files that routing.yaml names with ${file:/path}.

FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY receiver ./receiver
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'receiver[oidc]' \
 && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin receiver \
 && install -d -o receiver -g receiver -m 700 /data
COPY routing.yaml /etc/receiver/
COPY runbooks /etc/receiver/runbooks
USER receiver
WORKDIR /data
VOLUME /data
EXPOSE 9080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9080/healthz', timeout=4)"]
CMD ["receiver", "run", "--listen", "0.0.0.0:9080", "--data-dir", "/data", "--config", "/etc/receiver/routing.yaml"]
