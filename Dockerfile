# The same app as a container, for Kubernetes: infra/kubernetes/, docs/deploying.md.
FROM mcr.microsoft.com/azure-functions/python:4-python3.13

# Port 8080, because only root may open 80. Nothing is called over HTTP but the host's own state, for the probes.
ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true \
    AzureFunctionsJobHost__FileWatchingEnabled=false \
    AzureFunctionsJobHost__Logging__FileLoggingMode=Never \
    ASPNETCORE_URLS=http://+:8080 \
    HOME=/home

COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt \
    && groupadd --gid 10001 relay \
    && useradd --uid 10001 --gid relay --no-create-home --home-dir /home --shell /usr/sbin/nologin relay \
    && chown --recursive relay:relay /home /azure-functions-host /FuncExtensionBundles

WORKDIR /home/site/wwwroot
COPY host.json function_app.py ./
COPY functions/ functions/
COPY shared/ shared/

USER 10001:10001
EXPOSE 8080
# Kubernetes has its own probes; this one is for whoever runs the image alone.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/', timeout=4)"]

# As the image's own start script does it, but for `exec`: that script stays process 1 and passes no SIGTERM on, so that
# nothing drains and what is in process is invisible for up to ten minutes. The host drains for 10 s: `docker stop --time 30`.
CMD ["/bin/bash", "-c", ". /opt/startup/install_ca_certificates.sh; exec /azure-functions-host/Microsoft.Azure.WebJobs.Script.WebHost"]
