"""Settings with which a test does not wait two minutes until a gateway counts as hung."""

START_TIMEOUT = 6                       # seconds
SETTINGS = """\
[service citadel-gateway.service]
start_timeout = {0}
[dependency ollama]
start_timeout = {0}
[dependency redis]
start_timeout = {0}
[recovery]
verify_timeout = 25s
attempts = 50
probe_timeout = 5s
""".format(START_TIMEOUT)
