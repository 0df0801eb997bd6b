"""Beside the real programs: Prometheus scrapes us, its rules fire, Alertmanager is told and told again, and all of it
ends when the fault does; also where Alertmanager was away meanwhile.

node_exporter, Prometheus, Alertmanager and the receiver of its notifications run in the machine's network, from
Debian's packages (provision.monitoring). What waits minutes or hours on a real host (`for:`, group_wait) waits a second
here. A minute of cron is `minute`.
"""

import json
import os
import re
import subprocess
import sys
import urllib.parse

import provision
import pytest
from host import GATEWAY, RECOVERY, TREE, install
from injections import CONF
from shortened import SETTINGS

from citadel.core import log
from citadel.core.run import run
from citadel.rehearsal import isolation
from citadel.tell import alertmanager, metrics, spool

RULES = os.path.join(TREE, "units", "prometheus", "citadel.rules.yml")
LATE = "/var/lib/citadel-recovery/" + spool.TOLD_LATE
DASHBOARD = os.path.join(TREE, "units", "grafana", "citadel-dashboard.json")
TEXTFILES = "/var/lib/prometheus/node-exporter"
PROMETHEUS, ALERTMANAGER, EXPORTER, NOTIFIED = 9090, 9093, 9100, 9099

ALERTMANAGER_YML = """\
route: {receiver: test, group_by: ['...'], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: test, webhook_configs: [{url: 'http://127.0.0.1:9099/', send_resolved: true}]}]
"""
S3CRET = "$2y$05$Q2l0YWRlbFRlc3RTYWx0LuY9qw1Dg0tVDtKgWv/Ad3r2/OKMP6e/C"         # its bcrypt
# Writes what Alertmanager notifies, a line each.
LISTENER = """\
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode())["alerts"]:
            print(json.dumps(alert), file=log, flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
log = open(sys.argv[1], "a")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""
GET = """\
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
except OSError as error:
    sys.exit(str(error))
"""


def of_readme(kind):
    """The blocks of that kind in the README's section on monitoring, as an operator would copy them."""
    with open(os.path.join(TREE, "README.md")) as file:
        section = file.read().partition("\n## Monitoring\n")[2].partition("\n## ")[0]
    return [text for word, text in re.findall("\n```([a-z]*)\n(.*?)```", section, re.S) if word == kind]


FOR_PROMETHEUS, FOR_ALERTMANAGER = of_readme("yaml")
FOR_CITADEL, = of_readme("ini")


class Monitoring:
    """The programs, started and stopped one by one, and the questions put to them."""

    def __init__(self, host, directory):
        self.host, self.directory = host, str(directory)
        self.bin = os.path.join(provision.monitoring(), "usr", "bin")
        self.running = {}
        self.share = os.path.join(provision.monitoring(), "usr", "share")
        # Alertmanager wants its templates in /usr/share; this is our own mount namespace, and the host's stays bare.
        assert isolation.inside()
        assert run(["mount", "-t", "overlay", "-o", "lowerdir=%s:/usr/share" % self.share, "none", "/usr/share"], 10).ok
        self.write("prometheus.yml", "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                   + FOR_PROMETHEUS.replace("/opt/citadel/units/prometheus/citadel.rules.yml", self.path("rules.yml")))
        self.write("alertmanager.yml", ALERTMANAGER_YML + FOR_ALERTMANAGER)
        with open(RULES) as file:
            self.write("rules.yml", re.sub(r"for: \S+", "for: 1s", file.read()))
        self.write("listener.py", LISTENER)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def start(self, name, port, *words):
        """Starts a program of the test host in the machine's network, and waits until it listens."""
        with open(self.path(name + ".log"), "ab") as log:
            self.running[name] = subprocess.Popen(
                ["nsenter", "--target", str(self.host.machine.leader), "--net", "--"] + list(words),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.host.wait(lambda: self.listens(name, port), name + " to listen", timeout=60)

    def listens(self, name, port):
        if self.running[name].poll() is not None:
            with open(self.path(name + ".log")) as log:
                pytest.fail("%s ended: %s" % (name, log.read()[-2000:]))
        return ":%d " % port in self.host.do("ss", "-Hltn").out

    def start_exporter(self):
        self.start("exporter", EXPORTER, self.bin + "/prometheus-node-exporter", "--collector.disable-defaults",
                   "--collector.textfile", "--web.listen-address=127.0.0.1:%d" % EXPORTER,
                   "--collector.textfile.directory=" + self.host.machine.path(TEXTFILES))

    def start_prometheus(self):
        self.start("prometheus", PROMETHEUS, self.bin + "/prometheus", "--config.file=" + self.path("prometheus.yml"),
                   "--storage.tsdb.path=" + self.path("tsdb"), "--web.listen-address=127.0.0.1:%d" % PROMETHEUS)

    def start_alertmanager(self, *words):
        self.start("alertmanager", ALERTMANAGER, self.bin + "/prometheus-alertmanager", "--cluster.listen-address=",
                   "--config.file=" + self.path("alertmanager.yml"), "--storage.path=" + self.path("alertmanager"),
                   "--web.listen-address=127.0.0.1:%d" % ALERTMANAGER, *words)

    def start_listener(self):
        self.start("listener", NOTIFIED, sys.executable, self.path("listener.py"), self.path("notified"), str(NOTIFIED))

    def make_certificate(self, name):
        """A certificate for that name, signed by itself; Alertmanager gets it by web.yml, with a password."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name,
                        "-keyout", self.path("key.pem"), "-out", self.path("certificate.pem")],
                       check=True, stderr=subprocess.DEVNULL)
        self.write("web.yml", "tls_server_config: {cert_file: certificate.pem, key_file: key.pem}\n"
                   "basic_auth_users: {citadel: %s}\n" % S3CRET)
        with open(self.path("certificate.pem")) as file:
            return file.read()

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def get(self, port, path, **query):
        answer = self.host.do("python3", "-IS", "-c", GET, "http://127.0.0.1:%d%s?%s" % (
            port, path, urllib.parse.urlencode(query)), timeout=30, ok=False)
        return json.loads(answer.out) if answer.ok else None

    def value(self, expression):
        """The value of an expression in Prometheus, None where it has none or several."""
        found = self.get(PROMETHEUS, "/api/v1/query", query=expression)
        samples = found["data"]["result"] if found else ()
        return float(samples[0]["value"][1]) if len(samples) == 1 else None

    def rule_fires(self, name):
        return self.value('ALERTS{alertname="%s",alertstate="firing"}' % name) == 1

    def active(self, name="CitadelEscalated", *how):
        """The alerts of that name that Alertmanager holds as active, asked by amtool; `--inhibited`: that it keeps to
        itself for the sake of another."""
        answer = subprocess.run(["nsenter", "--target", str(self.host.machine.leader), "--net", "--",
                                 self.bin + "/amtool", "--alertmanager.url=http://127.0.0.1:%d" % ALERTMANAGER, "alert",
                                 "query", "-o", "json"] + list(how) + ["alertname=" + name], stdout=subprocess.PIPE,
                                check=True)
        return json.loads(answer.stdout.decode())

    def notified(self, incident):
        """What was notified of an incident by our own alert, in order: firing, resolved."""
        try:
            with open(self.path("notified")) as file:
                lines = [json.loads(line) for line in file]
        except FileNotFoundError:
            return []
        return [one["status"] for one in lines if one["annotations"].get("incident") == incident]

    def wait(self, condition, what, timeout=60):
        return self.host.wait(condition, what, timeout)


@pytest.fixture(scope="module")
def monitoring(installed, tmp_path_factory):
    one = Monitoring(installed, tmp_path_factory.mktemp("monitoring"))
    installed.do("mkdir", "-p", "-m", "755", TEXTFILES)
    installed.do("chown", "daemon:", os.path.dirname(TEXTFILES))       # as Debian's package: prometheus, below it root
    shipped = installed.read(CONF)
    installed.write(CONF, SETTINGS + FOR_CITADEL)
    one.start_exporter()
    one.start_listener()
    one.start_alertmanager()
    one.start_prometheus()
    yield one
    for name in list(one.running):
        one.stop(name)
    run(["umount", "/usr/share"], 10)
    installed.write(CONF, shipped)
    installed.do("rm", "-rf", os.path.dirname(TEXTFILES))


@pytest.fixture
def well(host, monitoring):
    """Healthy, with a full budget and no incident open; and what an earlier test told late was told hours ago."""
    host.handler()
    host.manager("reset")
    host.do("rm", "-f", LATE)
    minute(host)
    monitoring.wait(lambda: monitoring.value("citadel_service_healthy") == 1, "Prometheus to see a healthy service")
    monitoring.wait(lambda: monitoring.value("citadel_incident_open") == 0, "Prometheus to see no incident")
    yield host
    other_process_ends(host)


def minute(host):
    """What cron does each minute, but waiting for the pass; the check's code."""
    code = host.manager("check", "--quiet", ok=False).code
    if code:
        host.wait(lambda: host.show(RECOVERY, "ActiveState") != "activating", "a pass to end", 300)
        host.do("systemctl", "start", RECOVERY, timeout=300, ok=False)
    return code


def minutes_pass(host):
    """What was told late is so long ago that its end may follow: the note of it is made older."""
    told = json.loads(host.read(LATE))
    assert told
    host.write(LATE, json.dumps([[[wall - alertmanager.HELD, boottime - alertmanager.HELD, boot_id], alert]
                                 for (wall, boottime, boot_id), alert in told]), 0o600)


def other_process_comes(host):
    """Somebody holds the gateway's port, which no restart can help: an operator is told. No pass looks before that."""
    host.do("systemctl", "mask", "--runtime", RECOVERY)
    host.wait(lambda: host.show(RECOVERY, "ActiveState") != "activating", "a pass to end", 300)
    host.write("/run/systemd/system/%s.d/fault.conf" % GATEWAY, "[Service]\nRestart=no\n")
    host.do("systemctl", "daemon-reload")
    host.kill(GATEWAY)
    host.wait_state(GATEWAY, "failed")
    host.do("systemd-run", "--unit=other-process", "python3", "-m", "http.server", "8002", "--bind", "127.0.0.1")
    host.wait(lambda: ":8002 " in host.do("ss", "-Hltn").out, "the other process to listen")
    host.do("systemctl", "unmask", "--runtime", RECOVERY)


def other_process_ends(host):
    host.do("systemctl", "stop", "other-process.service", ok=False)
    host.do("rm", "-rf", "/run/systemd/system/%s.d" % GATEWAY)
    host.do("systemctl", "daemon-reload")


def one_pass_recovers_it(host):
    """systemd may not restart the gateway, which fails; the pass that OnFailure= calls for does. The incident."""
    host.write("/run/systemd/system/%s.d/fault.conf" % GATEWAY, "[Service]\nRestart=no\n")
    host.do("systemctl", "daemon-reload")
    before = incidents_of(host)
    old = host.kill(GATEWAY)
    host.wait_healthy(not_pid=old)
    host.wait(lambda: len(incidents_of(host)) > len(before) and incident_of(host)["end"], "the incident to end", 120)
    host.wait(lambda: host.show(RECOVERY, "ActiveState") != "activating", "the pass to end")
    other_process_ends(host)
    return incident_of(host)


def repaired(host):
    """The other process ends, and an operator starts the service."""
    other_process_ends(host)
    host.do("systemctl", "reset-failed", GATEWAY)
    host.do("systemctl", "start", GATEWAY)
    host.wait_healthy()


def incidents_of(host):
    return json.loads(host.manager("history", "500", "--json").out)["incidents"]


def incident_of(host):
    return incidents_of(host)[0]


# --- the whole way

def test_fault_metric_rule_alert_recovery_resolved(well, monitoring):
    host = well
    recovered = monitoring.value('citadel_recoveries_total{outcome="escalated"}')
    other_process_comes(host)
    assert minute(host) == 2
    incident = incident_of(host)["id"]
    host.note("from the end of the pass to our alert in Alertmanager", monitoring.wait(
        lambda: len(monitoring.active()) == 1, "our alert in Alertmanager"))
    host.note("and to the rule that fires on our metric", monitoring.wait(
        lambda: monitoring.rule_fires("CitadelIncidentEscalated"), "the rule to fire"))
    alert = monitoring.active()[0]
    assert alert["labels"] == {"alertname": "CitadelEscalated", "unit": GATEWAY, "cause": "port.taken",
                               "host": host.do("uname", "-n").out.strip(), "severity": "critical"}
    assert "8002" in alert["annotations"]["description"] and alert["annotations"]["incident"] == incident
    assert monitoring.value("citadel_incident_open") == 1
    assert monitoring.value('citadel_incident_cause{cause="port.taken"}') == 1
    started = monitoring.value("citadel_incident_start_timestamp_seconds")
    assert abs(started - float(host.do("date", "+%s").out)) < 120
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing"], "Alertmanager's notification")
    monitoring.wait(lambda: monitoring.active("CitadelIncidentEscalated", "--inhibited"), "the rule's to be muted")
    assert not monitoring.active("CitadelIncidentEscalated"), "an operator is told once"
    monitoring.wait(lambda: monitoring.active("CitadelIncidentOpen") and monitoring.active("CitadelServiceUnhealthy"),
                    "Prometheus' own alerts in Alertmanager")

    before = alert["updatedAt"]
    assert minute(host) == 2
    monitoring.wait(lambda: monitoring.active()[0]["updatedAt"] > before, "it to be sent again")
    assert monitoring.active()[0]["startsAt"] == alert["startsAt"] and len(monitoring.active()) == 1

    repaired(host)
    assert minute(host) == 1, "the check asks for the pass that closes the incident"
    monitoring.wait(lambda: not monitoring.active(), "our alert to be resolved")
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing", "resolved"], "the all-clear to be notified")
    monitoring.wait(lambda: monitoring.value("citadel_incident_open") == 0, "the metric to fall")
    monitoring.wait(lambda: not monitoring.active("CitadelIncidentOpen"), "Prometheus' alert to be resolved, too")
    assert monitoring.value('citadel_recoveries_total{outcome="escalated"}') == recovered + 1
    assert minute(host) == 0


def test_alertmanager_is_away_during_the_fault(well, monitoring):
    """It is told when it is back: once, as what lasts still; then of its end."""
    host = well
    monitoring.stop("alertmanager")
    other_process_comes(host)
    assert minute(host) == 2
    incident = incident_of(host)["id"]
    monitoring.wait(lambda: monitoring.value("citadel_alerts_spooled") == 1, "a metric of the alert that waits")
    assert "1 alert waits to be sent" in host.manager("check", ok=False).out
    monitoring.start_alertmanager()
    assert minute(host) == 2
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing"], "the notification")
    monitoring.wait(lambda: monitoring.value("citadel_alerts_spooled") == 0, "the spool to be empty")
    for _ in range(2):
        minute(host)
    minutes_pass(host)
    repaired(host)
    assert minute(host) == 1
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing", "resolved"], "the all-clear")
    assert minute(host) == 0


def test_alertmanager_is_away_from_beginning_to_end(well, monitoring):
    """What nobody could hear is told later, in its order, each once."""
    host = well
    monitoring.stop("alertmanager")
    other_process_comes(host)
    minute(host)
    incident = incident_of(host)["id"]
    repaired(host)
    assert minute(host) == 1
    assert incident_of(host)["end"] and monitoring.notified(incident) == []
    assert "2 alerts wait to be sent" in host.manager("check", ok=False).out
    monitoring.start_alertmanager()
    assert minute(host) == 1
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing"], "the firing alert to be notified")
    assert minute(host) == 1
    assert len(monitoring.active()) == 1, "its end is held back"
    assert "1 alert waits to be sent" in host.manager("check", ok=False).out
    minutes_pass(host)
    assert minute(host) == 1
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing", "resolved"], "the all-clear to be notified")
    assert minute(host) == 0


def test_who_stands_in_alertmanagers_place_and_keeps_silent_costs_five_seconds(well, monitoring):
    host = well
    monitoring.stop("alertmanager")
    monitoring.start("silent", ALERTMANAGER, sys.executable, "-c",
                     "import socket,time; s=socket.socket(); s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', %d)); "
                     "s.listen(9); time.sleep(600)" % ALERTMANAGER)
    try:
        other_process_comes(host)
        step = [one for one in json.loads(host.handler("--json").out)["services"][0]["steps"]
                if one["do"] == "escalate"][0]
        assert 4.5 < step["seconds"] < 6.5 and "no answer within 5 s; " in step["detail"]
        assert "it will be sent again" in step["detail"]
    finally:
        monitoring.stop("silent")
        monitoring.start_alertmanager()
    incident = incident_of(host)["id"]
    repaired(host)
    assert minute(host) == 1
    monitoring.wait(lambda: monitoring.notified(incident) == ["firing"], "what was not heard to be notified")
    minutes_pass(host)
    assert minute(host) == 1
    assert minute(host) == 0
    # An Alertmanager that is stopped before it has notified the end takes the next incident for the same one.
    monitoring.wait(lambda: monitoring.notified(incident)[-1:] == ["resolved"], "the all-clear to be notified")


def test_https_by_name_with_a_password(well, monitoring):
    """From within the sandbox of the recovery unit: the name is looked up, the certificate is not trusted until the
    host trusts it, and the password comes from a file that root alone may read."""
    host, conf = well, well.read(CONF)
    certificate = monitoring.make_certificate("alerts.example")
    hosts = host.do("test", "-e", "/etc/hosts", ok=False).ok
    host.do("sh", "-c", "echo 127.0.0.1 alerts.example >>/etc/hosts")
    host.write("/etc/citadel-credentials", "basic citadel:s3cret\n", 0o644)
    host.write(CONF, SETTINGS + "[alertmanager]\nurls = https://alerts.example:%d\n"
               "credentials = /etc/citadel-credentials\n" % ALERTMANAGER)
    monitoring.stop("alertmanager")
    monitoring.start_alertmanager("--web.config.file=" + monitoring.path("web.yml"))
    try:
        other_process_comes(host)
        for step, why in (((), "/etc/citadel-credentials is readable by its group and everybody"),
                          (("chmod", "600", "/etc/citadel-credentials"), "certificate")):
            host.do(*step or ("true",))
            assert minute(host) == 2
            said = host.manager("check", ok=False).out
            assert "1 alert waits to be sent (https://alerts.example:%d: " % ALERTMANAGER in said
            assert why in said and "s3cret" not in said
        incident = incident_of(host)["id"]
        assert monitoring.notified(incident) == []
        host.write("/usr/local/share/ca-certificates/alerts.crt", certificate)
        host.do("update-ca-certificates")
        minute(host)
        said = host.manager("check", ok=False).out
        assert "to be sent" not in said, said
        monitoring.wait(lambda: monitoring.notified(incident) == ["firing"], "the notification")
        minutes_pass(host)
        repaired(host)
        minute(host)
        monitoring.wait(lambda: monitoring.notified(incident) == ["firing", "resolved"], "the all-clear")
    finally:
        host.write(CONF, conf)
        host.do("rm", "-f", "/etc/citadel-credentials", "/usr/local/share/ca-certificates/alerts.crt")
        host.do("update-ca-certificates", "--fresh")
        host.do(*(["sed", "-i", "/alerts.example/d", "/etc/hosts"] if hosts else ["rm", "/etc/hosts"]))
        monitoring.stop("alertmanager")
        monitoring.start_alertmanager()


def test_an_incident_that_one_pass_begins_and_ends_is_in_prometheus_with_its_cause(well, monitoring):
    """It is counted by its cause, also where it was over before the next scrape."""
    host = well
    counted = 'citadel_incidents_total{cause="gateway.crashed"}'
    before = monitoring.value(counted)
    one_pass_recovers_it(host)
    monitoring.wait(lambda: monitoring.value(counted) == before + 1, "it to be counted")
    monitoring.wait(lambda: monitoring.value('increase(%s[5m]) > 0' % counted), "its increase")
    monitoring.wait(lambda: monitoring.value('max_over_time(citadel_incident_cause{cause="gateway.crashed"}[5m])') == 1,
                    "it on the time line")


TELL = """\
import sys, time
sys.path.insert(0, "/opt/citadel/lib")
from citadel.model import Alert
from citadel.tell import alertmanager
now = time.time() + 3600
end = {"firing": None, "resolved": now}[sys.argv[1]]
said = [Alert(sys.argv[1], unit, "port.taken", "x", "", "i", "h", now - ago, end, "critical")
        for unit, ago in (("ahead.service", 5), ("older.service", 86400))]
print(alertmanager.tell(["http://127.0.0.1:9093"], said, now, 5).taken)
"""


def test_a_host_whose_clock_is_an_hour_ahead_is_heard_and_can_end_it(well, monitoring):
    def active():
        return sorted(one["labels"]["unit"] for one in monitoring.active())
    assert well.do("python3", "-IS", "-c", TELL, "firing").out == "[True, True]\n"
    monitoring.wait(lambda: active() == ["ahead.service", "older.service"], "both alerts")
    assert well.do("python3", "-IS", "-c", TELL, "resolved").out == "[True, True]\n"
    monitoring.wait(lambda: active() == [], "both to be over")


# --- what is shipped

WINDOW = 3600           # seconds that the dashboard is asked for


def test_every_panel_of_the_dashboard_shows_something(well, monitoring):
    """Its queries, with what Grafana would put for its variables, over the time in which the faults above were made."""
    host = well
    if not monitoring.value("count(max_over_time(citadel_incident_cause[%ds]))" % WINDOW):      # run alone: make one
        other_process_comes(host)
        minute(host)
        monitoring.wait(lambda: monitoring.value("citadel_incident_open") == 1, "an incident in Prometheus")
        repaired(host)
        minute(host)
        monitoring.wait(lambda: monitoring.value("citadel_incident_open") == 0, "its end in Prometheus")
    with open(DASHBOARD) as file:
        dashboard = json.load(file)
    now = float(host.do("date", "+%s").out)
    empty = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in (("$__range", "%ds" % WINDOW), ("$__rate_interval", "1m"), ("$__interval", "2m"),
                                ("$instance", ".*"), ("$unit", ".*")):
                expression = expression.replace(name, value)
            answer = monitoring.get(PROMETHEUS, "/api/v1/query_range", query=expression, start=now - WINDOW,
                                    end=now, step=15)
            if not answer or not any(series["values"] for series in answer["data"]["result"]):
                empty.append((panel["title"], expression))
    assert not empty and len(dashboard["panels"]) > 10


def test_the_dashboard_names_no_data_source_of_ours_and_only_our_metrics():
    with open(DASHBOARD) as file:
        text = file.read()
    dashboard = json.loads(text)
    sources = re.findall(r'"uid": "([^"]*)"', text)
    assert set(sources) == {"citadel", "${datasource}"} and "__inputs" not in dashboard
    expressions = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    names = {name[len("citadel_"):] for name in re.findall(r"citadel_[a-z_]+", expressions)}
    names = {name.replace("_seconds_sum", "_seconds").replace("_seconds_count", "_seconds") for name in names}
    assert names <= set(metrics.FAMILIES)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


# Of Grafana's published schema (kinds/dashboard, and kind-registry's panelcfg.cue of v11), what we use of it.
OPTIONS = {
    "stat": {"reduceOptions", "orientation", "colorMode", "graphMode", "justifyMode", "textMode"},
    "bargauge": {"reduceOptions", "orientation", "displayMode", "showUnfilled"},
    "state-timeline": {"mergeValues", "showValue", "rowHeight", "alignValue", "legend", "tooltip"},
    "timeseries": {"legend", "tooltip"},
}
CUSTOM = {"stat": set(), "bargauge": set(), "state-timeline": {"fillOpacity", "lineWidth"},
          "timeseries": {"drawStyle", "fillOpacity", "showPoints", "pointSize", "thresholdsStyle"}}
DEFAULTS = {"unit", "decimals", "min", "max", "mappings", "thresholds", "color", "noValue", "custom"}


def test_the_dashboard_is_as_grafana_s_schema_has_it():
    with open(DASHBOARD) as file:
        dashboard = json.load(file)
    taken = set()
    for panel in dashboard["panels"]:
        assert set(panel["options"]) <= OPTIONS[panel["type"]], panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert set(defaults) <= DEFAULTS and set(defaults.get("custom", ())) <= CUSTOM[panel["type"]], panel["title"]
        assert set(panel) <= {"id", "type", "title", "description", "datasource", "gridPos", "targets", "fieldConfig",
                              "options", "interval"}
        steps = [step["value"] for step in defaults.get("thresholds", {"steps": [{"value": None}]})["steps"]]
        assert steps[0] is None and steps[1:] == sorted(steps[1:]), "the first is minus infinity, they rise"
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"] + " lies on another"
        taken |= cells
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) and all(
            target["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for target in panel["targets"])


def promtool(*words, stdin=b""):
    answer = subprocess.run([os.path.join(provision.monitoring(), "usr", "bin", "promtool")] + list(words), input=stdin,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return answer.returncode, answer.stdout.decode()


def test_promtool_has_nothing_to_say_against_our_metrics(well, monitoring):
    both = "".join(well.read("%s/%s" % (TEXTFILES, name)) for name in (metrics.LOOK, metrics.RECORD))
    assert "citadel_recoveries_total" in both
    assert promtool("check", "metrics", stdin=both.encode()) == (0, "")


def test_promtool_has_nothing_to_say_against_our_rules():
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)[0] == 0
    code, said = promtool("test", "rules", os.path.join(TREE, "tests", "prometheus", "citadel.rules.test.yml"))
    assert code == 0, said


# --- bad input

@pytest.mark.parametrize("make, says", [
    pytest.param("mkdir -p /srv/textfiles && chown daemon: /srv/textfiles", "belongs to uid 1, not to root",
                 id="another's"),
    pytest.param("ln -s /tmp /srv/textfiles", "is a symbolic link", id="a link"),
    pytest.param("true", "does not exist", id="missing"),
    pytest.param("mkdir /srv/textfiles && mount -t tmpfs -o size=4k,mode=755 full /srv/textfiles && "
                 "head -c 4096 /dev/zero >/srv/textfiles/zeros", "No space left on device", id="full"),
])
def test_a_bad_directory_is_a_warning_and_hurts_no_recovery(well, monitoring, make, says):
    host, conf = well, well.read(CONF)
    try:
        host.do("sh", "-c", make)
        host.write(CONF, conf + "[metrics]\ndirectory = /srv/textfiles\n")
        answer = host.manager("check", ok=False)
        assert answer.code == 1 and answer.out.startswith("WARNING: ") and answer.out.count("\n") == 1
        assert says in answer.out
        old = host.kill(GATEWAY)
        assert host.handler().code in (0, 1)
        host.wait_healthy(not_pid=old)
    finally:
        host.write(CONF, conf)
        host.do("sh", "-c", "umount /srv/textfiles; rm -rf /srv/textfiles", ok=False)


def test_a_url_without_a_scheme_is_refused_by_line(well):
    host, conf = well, well.read(CONF)
    try:
        host.write(CONF, "[alertmanager]\nurls = alerts.example:9093\n")
        answer = host.handler()
        assert answer.code == 78 and answer.err.count("\n") == 1
        assert "%s:2: urls: 'alerts.example:9093' does not begin with http:// or https://" % CONF in answer.err
        answer = host.manager("check", ok=False)
        assert answer.code == 3 and answer.out.startswith("UNKNOWN: ") and "urls:" in answer.out
    finally:
        host.write(CONF, conf)


def test_the_sandboxed_health_check_writes_them_too(well):
    """citadel-health.service, where the timer is used: root without the right to write everywhere."""
    well.do("sh", "-c", "rm -f %s/*.prom" % TEXTFILES)
    well.do("systemctl", "start", "citadel-health.service")
    assert well.do("sh", "-c", "stat -c '%%a %%U %%n' %s/*.prom" % TEXTFILES).out.split("\n")[:-1] == [
        "644 root %s/citadel-record.prom" % TEXTFILES, "644 root %s/citadel.prom" % TEXTFILES]


# --- Nagios

def test_the_nrpe_command_works_for_nobody_without_arguments(well):
    plain = "".join(of_readme(""))
    command, = re.findall(r"^command\[check_citadel\]=(.*)$", plain, re.M)
    assert re.findall(r"^nagios ALL=\(root\) NOPASSWD: (.*)$", plain, re.M) == [command], "and sudo allows that one"
    answer = well.do("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command.split(), ok=False)
    assert answer.code == 0 and answer.err == "" and answer.out.count("\n") == 1
    text, _, perfdata = answer.out.strip().partition(" | ")
    assert text.startswith("OK: ")
    for row in perfdata.split():
        assert re.match(r"[a-z_]+=\d+\.\d+s(;[\d.]*){0,3};0$", row)
    assert {row.partition("=")[0] for row in perfdata.split()} == {"response", "ollama_response", "redis_response"}


# --- the journal

def test_the_journal_tells_the_story_and_explains_it(well):
    host = well
    other_process_comes(host)
    minute(host)
    incident = incident_of(host)["id"]
    repaired(host)
    minute(host)
    entries = [one for one in host.entries("CITADEL_INCIDENT=" + incident) if one.get("SYSLOG_IDENTIFIER")]
    assert {"escalated", "step", "firing", "healthy", "resolved"} <= {one["CITADEL_EVENT"] for one in entries}
    for one in entries:
        assert one["MESSAGE_ID"] == log.EVENTS[one["CITADEL_EVENT"]][0] and one["CITADEL_UNIT"] == GATEWAY
        assert one["CITADEL_CAUSE"] == "port.taken" and one["CITADEL_VERDICT"]
    typed = [line[2:].replace("20261123T180000-1", incident) for line in "".join(of_readme("")).splitlines()
             if line.startswith("$ ")]
    explained, calls = [host.do("sh", "-c", line).out for line in typed]
    assert "Subject: " not in calls and "port 8002" in calls
    assert "Subject: %s needs an operator" % GATEWAY in explained
    assert "journalctl CITADEL_INCIDENT=%s" % incident in explained
    listed = host.do("journalctl", "--list-catalog").out
    assert all(message_id in listed for message_id, _ in log.EVENTS.values())


def test_a_recovery_and_an_operator_s_doings_are_in_the_journal(well):
    host = well
    incident = one_pass_recovers_it(host)["id"]
    story = [one for one in host.entries("CITADEL_INCIDENT=" + incident) if one.get("SYSLOG_IDENTIFIER")]
    assert [one["CITADEL_EVENT"] for one in story if one["CITADEL_EVENT"] != "step"] == ["act", "recovered"]
    assert {one["CITADEL_VERDICT"] for one in story if one["CITADEL_EVENT"] == "step"} == {"act", "healthy"}
    host.manager("maintenance", "on", "--for", "5m", "--reason", "new disks")
    host.manager("maintenance", "off")
    host.manager("reset")
    events = [one["CITADEL_EVENT"] for one in host.entries("SYSLOG_IDENTIFIER=citadel-recovery", since=host.start)
              if one.get("CITADEL_EVENT")]
    assert events[-3:] == ["maintenance-on", "maintenance-off", "reset"]
    said, = [one["MESSAGE"] for one in host.entries("CITADEL_EVENT=maintenance-on", since=host.start)]
    assert "new disks" in said


def test_an_uninstallation_takes_metrics_and_catalog_away(well):
    """Else a heartbeat that nobody renews would be an alert for ever."""
    host = well
    answer = install(host.machine, "--uninstall")
    try:
        assert answer.ok, answer.err
        assert host.do("ls", "-A", TEXTFILES).out == ""
        assert log.EVENTS["firing"][0] not in host.do("journalctl", "--list-catalog").out
    finally:
        assert install(host.machine, "--schedule", "none").ok
        host.wait_healthy()
