"""docker-compose.yml, Dockerfile and the systemd units against the real commands, settings and ports.

No Docker is needed for that; where a client with compose is there, it has to read the file, too.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from celery.app.utils import find_app
from celery.bin.base import CLIContext
from celery.bin.celery import celery as celery_program
from click import UsageError
from django.conf import settings
from django.core.management import CommandError, get_commands, load_command_class
from gunicorn.config import Config as Gunicorn  # type: ignore[import-untyped]  # it has none

from docs.tests.test_documents import settings_that_are_read
from hosting.serving.addresses import parse_listen
from hosting.tests.house import House

pytestmark = pytest.mark.once

PROJECT = Path(settings.BASE_DIR)
SYSTEMD = PROJECT / "deploy" / "systemd"
OURS = ("web", "smtpd", "pop3d", "worker", "errands", "beat")
# What docker-compose.yml itself asks of .env, beside settings.
OF_COMPOSE = {"POSTGRES_PASSWORD", "TLS_FOLDER"}
DOT_ENV = {
    "MAIL_HOSTNAME": "mail.example.test",
    "SECRET_KEY": "k3J-_9dQx7Lw2" * 4,
    "POSTGRES_PASSWORD": "p4ssw0rd",
}


def read(name: str) -> str:
    return (PROJECT / name).read_text()


# -- what the files say -------------------------------------------------------------------------


def filled_in(text: str, env: Mapping[str, str]) -> str:
    """A value of docker-compose.yml with its ${VARIABLES} from .env, as compose does it."""

    def value(found: re.Match[str]) -> str:
        name, operator, more = found.groups()
        if operator == ":?":
            assert env.get(name), f"{name}: {more}"
        return env.get(name) or (more if operator == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[?-])?([^}]*)\}", value, text).replace("$$", "$")


COMPOSE: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def environment(service: str) -> dict[str, str]:
    return {k: filled_in(str(v), DOT_ENV) for k, v in SERVICES[service].get("environment", {}).items()}


def unit(path: Path) -> dict[str, list[str]]:
    """Each directive of a unit with its values, in order; sections are told apart where it matters."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


UNITS = {path.stem.removeprefix("restante-"): unit(path) for path in SYSTEMD.glob("*.service")}
COMMON = unit(SYSTEMD / "restante-.service.d" / "common.conf")


def procfile() -> dict[str, list[str]]:
    pairs = [line.partition(":") for line in read("Procfile").splitlines()]
    return {name: shlex.split(command) for name, _, command in pairs}


def commands() -> Iterator[Any]:
    """Every command that is started anywhere, as words without the path of the program."""
    for name, service in SERVICES.items():
        words = service.get("command", [])
        if words[:2] == ["sh", "-c"]:
            for part in words[2].split(" && "):
                yield pytest.param(shlex.split(part), id=f"compose-{name}")
        elif words and words[0] != "redis-server":
            yield pytest.param(words, id=f"compose-{name}")
    for name, directives in UNITS.items():
        for line in directives.get("ExecStartPre", []) + directives["ExecStart"]:
            program, *arguments = line.replace("%%", "%").split()
            assert program.startswith("/opt/restante/.venv/bin/")
            yield pytest.param([program.rpartition("/")[2], *arguments], id=f"systemd-{name}")
    for name, words in procfile().items():
        yield pytest.param(words, id=f"procfile-{name}")
    [words] = re.findall(r"^CMD (\[.*\])$", read("Dockerfile"), re.MULTILINE)
    yield pytest.param(yaml.safe_load(words), id="dockerfile")


# -- commands -----------------------------------------------------------------------------------


def parsed_by_django(arguments: Sequence[str]) -> dict[str, Any]:
    name, *rest = arguments
    command = load_command_class(get_commands()[name], name)
    return vars(command.create_parser("manage.py", name).parse_args(rest))


def parsed_by_celery(arguments: Sequence[str]) -> None:
    with celery_program.make_context("celery", list(arguments)) as context:
        app = find_app(context.params["app"])
        assert app.main == "restante"
        context.obj = CLIContext(app=app, no_color=True, workdir=None, quiet=True)
        words = [*context._protected_args, *context.args]
        name, command, rest = celery_program.resolve_command(context, words)
        assert command is not None
        assert name in {"worker", "beat"}
        command.make_context(name, rest, parent=context)


def parsed_by_gunicorn(arguments: Sequence[str]) -> dict[str, Any]:
    options = vars(Gunicorn().parser().parse_args(arguments))
    assert options["args"] == ["hosting.wsgi"]
    # What gunicorn.conf.py says holds everywhere.
    given = [name for name in ("workers", "threads", "timeout", "config") if options[name] is not None]
    assert given == []
    return dict(options)


PARSERS: Mapping[str, Callable[[Sequence[str]], object]] = {
    "manage.py": parsed_by_django,
    "celery": parsed_by_celery,
    "gunicorn": parsed_by_gunicorn,
}


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_is_one_that_there_is_with_arguments_that_it_takes(words: list[str]) -> None:
    program, *arguments = words[1:] if words[0] == "python" else words
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints):
            PARSERS[program](arguments)
    except (SystemExit, UsageError, CommandError) as error:
        pytest.fail(f"{error} {complaints.getvalue()}")


@pytest.mark.parametrize(
    "words",
    [
        ["manage.py", "smtpd", "--lmtpd", "*:2424"],
        ["gunicorn", "hosting.wsgi", "--no-such-option"],
        ["celery", "-A", "hosting", "worker", "--no-such-option"],
        ["celery", "-A", "hosting", "beat", "--concurrency", "2"],
    ],
)
def test_a_command_that_there_is_not_is_found(words: list[str]) -> None:
    with pytest.raises((SystemExit, UsageError, CommandError)), contextlib.redirect_stderr(io.StringIO()):
        PARSERS[words[0]](words[1:])


def listening(words: Sequence[str]) -> dict[str, int]:
    """The ports of a command, by the option that opens them."""
    pairs = pairwise(words)
    options = ("--bind", "--lmtp", "--smtp", "--recipients", "--policy", "--listen", "--listen-tls")
    return {option: parse_listen(value).port for option, value in pairs if option in options}


def words_of(name: str) -> list[str]:
    """The command of a systemd unit."""
    return UNITS[name]["ExecStart"][0].split()


def test_every_process_runs_everywhere() -> None:
    assert set(OURS) == set(procfile()) == set(SERVICES) - {"postgres", "redis", "migrate", "postfix"}
    assert set(UNITS) == {*OURS, "migrate"}
    wanted = unit(SYSTEMD / "restante.target")["Wants"][0].split()
    assert wanted == [f"restante-{name}.service" for name in OURS]


# -- settings -----------------------------------------------------------------------------------


def test_every_variable_that_a_process_of_ours_is_given_is_a_setting() -> None:
    read_ = settings_that_are_read()
    for name in (*OURS, "migrate"):
        assert set(environment(name)) - read_ == set(), name
    given = [word for directives in (COMMON, *UNITS.values()) for word in directives.get("Environment", [])]
    names = {pair.partition("=")[0] for line in given for pair in line.split()}
    assert names - {name for name in names if name.startswith("PYTHON")} - read_ == set()
    image = re.findall(r"^(?:ENV| {3}) ([A-Z_]+)=", read("Dockerfile"), re.MULTILINE)
    assert {"VAR_ROOT", "CONTENT_ROOT", "SPOOL_ROOT"} <= set(image)
    assert {name for name in image if not name.startswith(("PYTHON", "PATH"))} - read_ == set()


def test_what_is_asked_of_dot_env_is_a_setting_or_told_in_the_documents() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", read("docker-compose.yml")))
    assert asked - settings_that_are_read() == OF_COMPOSE
    told = read("docs/deployment.md")
    assert [name for name in OF_COMPOSE | {"MAIL_HOSTNAME", "SECRET_KEY"} if name not in told] == []


def test_without_what_is_needed_compose_does_not_start() -> None:
    for name in DOT_ENV:
        assert re.search(rf"\$\{{{name}:\?[^}}]", read("docker-compose.yml")), name


def test_all_processes_have_the_same_settings() -> None:
    """But for web, which alone has a proxy before it."""
    same = environment("smtpd")
    for name in ("pop3d", "worker", "beat", "migrate"):
        assert environment(name) == same
    assert environment("web") == same | {"PROXY_NETWORKS": "172.31.253.1"}
    [network] = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert network["gateway"] == "172.31.253.1"


def test_database_and_redis_are_where_the_settings_say() -> None:
    url = urlsplit(environment("web")["DATABASE_URL"])
    postgres = environment("postgres")
    assert url.hostname == "postgres"
    assert (url.username, url.password) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert url.path == f"/{postgres['POSTGRES_DB']}"
    assert (url.port, urlsplit(environment("web")["REDIS_URL"]).port) == (5432, 6379)
    assert urlsplit(environment("web")["REDIS_URL"]).hostname == "redis"
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["back"]
        assert "ports" not in SERVICES[name]
    assert COMPOSE["networks"]["back"] == {"internal": True}


def check_deploy(folder: Path, given: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`manage.py check --deploy` with these settings, whose folders are put into one that there is here."""
    moved = {k: v.replace("/var/lib/restante", str(folder)) for k, v in given.items()}
    env = {"PATH": os.environ["PATH"], "ENV_FILE": "/dev/null"} | moved
    command = [sys.executable, str(PROJECT / "manage.py"), "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.parametrize("name", ["web", "smtpd"])
def test_the_settings_of_compose_pass_all_checks_for_production(tmp_path: Path, name: str) -> None:
    done = check_deploy(tmp_path, environment(name))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no issues" in done.stdout


def documented_environment_file() -> dict[str, str]:
    """What docs/deployment.md says belongs into /etc/restante/restante.env."""
    [block] = re.findall(
        r"```ini\n# /etc/restante/restante\.env\n(.*?)```", read("docs/deployment.md"), re.DOTALL
    )
    pairs = [line.partition("=") for line in block.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_the_settings_told_for_systemd_pass_all_checks_for_production(tmp_path: Path) -> None:
    given = documented_environment_file()
    assert set(given) - settings_that_are_read() == set()
    for line in COMMON["Environment"]:
        given |= dict(pair.split("=", 1) for pair in line.split())
    given |= {"SECRET_KEY": DOT_ENV["SECRET_KEY"], "TLS_CERT": "", "TLS_KEY": ""}
    done = check_deploy(tmp_path, given)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_check_for_production_finds_what_is_wrong(tmp_path: Path) -> None:
    done = check_deploy(tmp_path, environment("web") | {"HTTPS": "0"})
    assert done.returncode == 1
    assert "security.W" in done.stderr


# -- ports --------------------------------------------------------------------------------------


def published(name: str) -> dict[str, int]:
    """The port of the container, by the port (and address) of the machine."""
    pairs = [port.rpartition(":") for port in SERVICES[name].get("ports", [])]
    return {outside: int(inside) for outside, _, inside in pairs}


def test_the_doors_are_reached_at_the_ports_that_people_know() -> None:
    pop3d = listening(SERVICES["pop3d"]["command"])
    assert published("pop3d") == {"110": pop3d["--listen"], "995": pop3d["--listen-tls"]}
    assert published("web") == {"127.0.0.1:8000": listening(SERVICES["web"]["command"])["--bind"]}
    assert published("postfix") == {"25": 25}
    systemd = listening(words_of("pop3d"))
    assert systemd == {"--listen": 110, "--listen-tls": 995}
    assert listening(words_of("web")) == {"--bind": 8000}


def test_only_what_is_meant_for_the_world_is_open_to_it() -> None:
    assert {name for name in SERVICES if published(name)} == {"web", "pop3d", "postfix"}
    smtpd = words_of("smtpd")
    assert [word for word in smtpd if re.search(r":\d+$", word) and not word.startswith("127.0.0.1:")] == []


def test_postfix_asks_smtpd_where_it_listens() -> None:
    compose = listening(SERVICES["smtpd"]["command"])
    assert environment("postfix")["RESTANTE_LMTP"] == f"inet:smtpd:{compose['--lmtp']}"
    assert environment("postfix")["RESTANTE_LOOKUPS"] == f"inet:smtpd:{compose['--recipients']}"
    assert environment("postfix")["RESTANTE_POLICY"] == f"inet:smtpd:{compose['--policy']}"
    assert set(SERVICES["postfix"]["networks"]) & set(SERVICES["smtpd"]["networks"])
    systemd = listening(words_of("smtpd"))
    main = dict(
        re.findall(
            r"^(restante_\w+) = inet:127\.0\.0\.1:(\d+)$", read("deploy/postfix/main.cf"), re.MULTILINE
        )
    )
    wanted = {
        "restante_lmtp": systemd["--lmtp"],
        "restante_lookups": systemd["--recipients"],
        "restante_policy": systemd["--policy"],
    }
    assert {name: int(port) for name, port in main.items()} == wanted


def test_postfix_is_started_with_every_variable_that_it_is_given() -> None:
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", read("deploy/postfix/start.sh")))
    assert set(environment("postfix")) <= used


# -- health -------------------------------------------------------------------------------------


def health_urls(service: Mapping[str, Any]) -> list[str]:
    test = service["healthcheck"]["test"]
    return list(test[3:]) if test[:3] == ["CMD", "python", "deploy/healthcheck.py"] else []


def test_every_service_has_a_health_check() -> None:
    assert [name for name, service in SERVICES.items() if not service.get("healthcheck")] == []
    assert SERVICES["migrate"]["healthcheck"] == {"disable": True}


def test_health_is_asked_for_where_the_process_listens() -> None:
    for name in ("web", "smtpd", "pop3d"):
        asked = {urlsplit(url).port for url in health_urls(SERVICES[name])}
        listens = set(listening(SERVICES[name]["command"]).values())
        assert asked
        assert asked <= listens, name
    [image] = re.findall(r"healthcheck\.py\", \"(\S+)\"\]", read("Dockerfile"))
    assert health_urls(SERVICES["web"]) == [image]
    [beat] = health_urls(SERVICES["beat"])
    assert beat == f"beat:{environment('beat')['VAR_ROOT']}"


def healthcheck(*urls: str) -> tuple[int, str]:
    """Its exit code and what it says; a busy machine is not asked to answer within five seconds."""
    code = "import sys, healthcheck; healthcheck.TIMEOUT = 500.0; sys.exit(healthcheck.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *urls]
    done = subprocess.run(
        command, cwd=PROJECT / "deploy", capture_output=True, text=True, timeout=500, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.processes
def test_the_health_check_tells_doors_that_answer_from_those_that_do_not(own_house: House) -> None:
    own_house.faults_expected = True
    own_house.start()
    lmtp, pop3 = (f"{kind}://127.0.0.1:{own_house.place(kind)[1]}" for kind in ("lmtp", "pop3"))
    assert healthcheck(lmtp, pop3) == (0, "")
    wrong = pop3.replace("pop3", "lmtp")
    assert healthcheck(lmtp, wrong) == (1, f"{wrong}: no good answer\n")
    own_house.door("pop3d").stop()
    code, said = healthcheck(lmtp, pop3)
    assert code == 1
    assert said.startswith(f"{pop3}: ConnectionRefusedError")
    assert healthcheck()[0] == 1


@pytest.mark.processes
@pytest.mark.parametrize(("database", "code"), [("", 0), ("postgres://restante@127.0.0.1:1/restante", 1)])
def test_smtpd_is_not_healthy_while_its_database_is_away(own_house: House, database: str, code: int) -> None:
    own_house.faults_expected = True
    more: dict[str, Any] = {"DATABASE_URL": database} if database else {}
    door = own_house.smtpd(listen=["--lmtp", "127.0.0.1:0", "--recipients", "127.0.0.1:0"], **more)
    while "recipients" not in door.places:
        door._announced()
    assert healthcheck(f"socketmap://127.0.0.1:{door.places['recipients'][1]}")[0] == code


def test_beat_is_healthy_while_its_timetable_is_young(tmp_path: Path) -> None:
    assert healthcheck(f"beat:{tmp_path}")[0] == 1
    timetable = tmp_path / "celerybeat-schedule.db"
    timetable.write_bytes(b"")
    assert healthcheck(f"beat:{tmp_path}")[0] == 0
    os.utime(timetable, (0, 0))
    assert healthcheck(f"beat:{tmp_path}")[0] == 1
    assert str(settings.VAR / "celerybeat-schedule") == settings.CELERY_BEAT_SCHEDULE_FILENAME


# -- what is written where, and by whom ---------------------------------------------------------


def mounts(name: str) -> dict[str, str]:
    """Folder of the container by the volume or folder that lies there."""
    pairs = [filled_in(volume, {}).split(":") for volume in SERVICES[name].get("volumes", [])]
    return {pair[1]: pair[0] for pair in pairs}


def test_everything_that_is_kept_lies_in_a_volume() -> None:
    for name in (*OURS, "migrate"):
        assert mounts(name)["/var/lib/restante"] == "mail"
        for setting in ("VAR_ROOT", "CONTENT_ROOT", "SPOOL_ROOT"):
            assert Path(environment(name)[setting]).is_relative_to("/var/lib/restante")
    assert mounts("postgres") == {"/var/lib/postgresql/data": "postgres"}
    assert mounts("redis") == {"/data": "redis"}
    assert {"/var/spool/postfix", "/var/lib/postfix"} <= set(mounts("postfix"))
    named = {source for name in SERVICES for source in mounts(name).values() if "/" not in source}
    assert named == set(COMPOSE["volumes"])


def test_systemd_gives_the_folder_that_the_settings_name() -> None:
    assert COMMON["StateDirectory"] == ["restante"]
    given = dict(pair.split("=", 1) for line in COMMON["Environment"] for pair in line.split())
    names = ("VAR_ROOT", "CONTENT_ROOT", "SPOOL_ROOT")
    assert {name: given[name] for name in names} == {name: environment("web")[name] for name in names}


def test_nothing_in_a_container_is_root_or_may_become_it_or_write_elsewhere() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
    users = {name: service.get("user") for name, service in SERVICES.items() if name != "postfix"}
    others = {"postgres": "postgres", "redis": "redis"}
    assert users == dict.fromkeys((*OURS, "migrate"), "10001:10001") | others
    # Postfix's master must be root's; NET_ADMIN and SYS_ADMIN are not among what it may.
    rights = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}
    assert set(SERVICES["postfix"]["cap_add"]) == rights
    assert {name for name in SERVICES if "cap_add" in SERVICES[name]} == {"postfix"}


def test_the_image_is_of_one_user_who_owns_what_is_written_and_nothing_else() -> None:
    lines = read("Dockerfile").splitlines()
    user = [line for line in lines if line.startswith("USER")]
    assert user == ["USER 10001:10001"]
    after = lines[lines.index(user[0]) :]
    assert [line for line in after if line.startswith(("RUN", "COPY", "ADD"))] == []
    assert 'VOLUME ["/var/lib/restante"]' in after
    assert "install -d -o restante -g restante -m 0750 /var/lib/restante" in read("Dockerfile")


def test_every_service_restarts_and_has_time_to_end() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
    for name in OURS:
        assert UNITS[name]["Restart"] == ["always"]
        assert SERVICES[name]["stop_grace_period"] == "40s"


# -- nothing secret -----------------------------------------------------------------------------


def copied() -> set[str]:
    """What of the project goes into the image."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", read("Dockerfile"), re.MULTILINE)
    return {source for line in lines for source in line.split()}


def test_docker_sees_only_what_is_named_and_copies_only_that() -> None:
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied()
    assert {"**/.env*", "**/*.pem", "**/tests"} <= set(lines)
    for name in copied():
        assert (PROJECT / name).exists(), name


def test_all_of_the_house_is_in_the_image() -> None:
    packages = {
        app.split(".")[0] for app in settings.INSTALLED_APPS if (PROJECT / app.split(".")[0]).is_dir()
    }
    folders: list[Any] = [*settings.STATICFILES_DIRS, *settings.LOCALE_PATHS]
    folders += [folder for engine in settings.TEMPLATES for folder in engine["DIRS"]]
    wanted = packages | {str(Path(str(folder)).relative_to(PROJECT)).split("/")[0] for folder in folders}
    assert wanted | {"manage.py", "gunicorn.conf.py", "requirements.txt", "deploy/healthcheck.py"} == copied()


def test_no_secret_is_in_any_of_the_files() -> None:
    names = ["Dockerfile", "docker-compose.yml", "deploy/postfix/Dockerfile", "deploy/postfix/start.sh"]
    texts = [read(name) for name in names] + [
        path.read_text() for path in SYSTEMD.rglob("*.*") if path.is_file()
    ]
    for text in texts:
        found = re.findall(
            r"^.*(?:SECRET|PASSWORD|TOKEN|_KEY)\w*\s*[:=](?![?-]|\s*\$\{).*$", text, re.MULTILINE
        )
        assert found == []


# -- systemd ------------------------------------------------------------------------------------


def test_no_unit_says_what_the_common_file_would_overrule() -> None:
    once = {"After", "Wants", "Environment", "Requires", "Description"}
    for name, directives in UNITS.items():
        assert set(directives) & set(COMMON) - once == set(), name


def test_every_unit_is_locked_in_and_none_is_roots() -> None:
    locks = {
        "User": ["restante"],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "PrivateTmp": ["yes"],
        "PrivateDevices": ["yes"],
        "EnvironmentFile": ["/etc/restante/restante.env"],
        "SystemCallFilter": ["@system-service"],
    }
    assert {name: COMMON[name] for name in locks} == locks
    for name, directives in UNITS.items():
        low_ports = name == "pop3d"
        capability = "CAP_NET_BIND_SERVICE"
        assert directives["CapabilityBoundingSet"] == [capability if low_ports else ""], name
        assert directives.get("AmbientCapabilities", []) == [capability] * low_ports, name
        assert ("MemoryMax" in directives) == (name != "migrate"), name


# Not skipped but not there at all: no machine needs them for `make test`, and in CI nothing may be skipped.
if shutil.which("systemd-analyze"):

    def test_systemd_itself_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
        system = tmp_path / "etc" / "systemd" / "system"
        shutil.copytree(SYSTEMD, system)
        for name in ("sysinit", "basic", "shutdown", "network-online", "network", "multi-user"):
            (system / f"{name}.target").write_text("[Unit]\nDescription=of the system\n")
        for program in (
            "opt/restante/.venv/bin/python",
            *(f"opt/restante/.venv/bin/{p}" for p in ("gunicorn", "celery")),
            "bin/kill",
        ):
            (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy("/bin/true", tmp_path / program)
        units = [path.name for path in SYSTEMD.glob("*.*") if path.is_file()]
        command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", *units]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        complaints = [line for line in done.stderr.splitlines() if "restante" in line]
        assert (done.returncode, complaints) == (0, []), done.stderr


# -- Docker, where it is ------------------------------------------------------------------------


def _compose() -> list[str]:
    for command in (["docker", "compose"],):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True).returncode == 0
        ):
            return command
    return []


if _compose():

    def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
        shutil.copy(PROJECT / "docker-compose.yml", tmp_path)
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in DOT_ENV.items()))
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(
            [*_compose(), "config", "--quiet"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_gunicorn_finds_its_configuration_wherever_it_is_started(tmp_path: Path) -> None:
    """The image has it, systemd starts there, and gunicorn itself reads it."""
    assert "gunicorn.conf.py" in re.findall(r"^COPY (.*) \./$", read("Dockerfile"), re.MULTILINE)[0].split()
    assert COMMON["WorkingDirectory"] == ["/opt/restante"]
    env = {"PATH": os.environ["PATH"], "ENV_FILE": "/dev/null", "VAR_ROOT": str(tmp_path)}
    env |= {"SECRET_KEY": DOT_ENV["SECRET_KEY"]}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "hosting.wsgi", "--print-config"],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    values = dict(re.findall(r"^(\w+)\s+= (.*)$", done.stdout, re.MULTILINE))
    wanted = {"workers": "2", "threads": "8", "control_socket_disable": "True"}
    assert {name: values[name] for name in wanted} == wanted
