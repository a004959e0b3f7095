# One image for all processes of Restante: web, smtpd, pop3d, worker, beat and the commands of manage.py.
# It runs as nobody in particular, with a read-only root file system; it writes to /var/lib/restante and /tmp only.
# Everything secret comes from the environment, when a container starts.
FROM python:3.11-slim-bookworm AS packages
COPY requirements.txt /
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r /requirements.txt

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 restante \
 && useradd --uid 10001 --gid restante --no-create-home --home-dir /var/lib/restante --shell /usr/sbin/nologin restante \
 && install -d -o restante -g restante -m 0750 /var/lib/restante
COPY --from=packages /venv /venv
WORKDIR /opt/restante
# By name, so that nothing gets in that nobody thought of.
COPY manage.py gunicorn.conf.py ./
COPY deploy/healthcheck.py deploy/
COPY hosting hosting
COPY mailboxes mailboxes
COPY pop3d pop3d
COPY smtpd smtpd
COPY static static
COPY templates templates
COPY webmail webmail
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VAR_ROOT=/var/lib/restante \
    CONTENT_ROOT=/var/lib/restante/content \
    SPOOL_ROOT=/var/lib/restante/spool
# Nothing can be compiled later.
RUN python -m compileall -q /opt/restante
USER 10001:10001
VOLUME ["/var/lib/restante"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --start-interval=2s \
    CMD ["python", "deploy/healthcheck.py", "http://127.0.0.1:8000/healthz"]
CMD ["gunicorn", "hosting.wsgi", "--bind", "0.0.0.0:8000"]
