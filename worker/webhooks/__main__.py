"""`python -m worker.webhooks`, the dispatcher's process. Two or more may run.

SIGTERM: nothing more is claimed, what is in flight ends; killed earlier, its leases run out and others send it again.
"""

import logging
import signal
import sys

import structlog

from models.failpoints import arm
from models.log import configure_logging
from models.session import make_engine, make_sessions
from models.settings import Settings, get_settings
from worker.webhooks.dispatcher import Dispatcher
from worker.webhooks.listening import Listener
from worker.webhooks.network import make_tls
from worker.webhooks.sending import Sender

log = structlog.get_logger()


def make_sender(settings: Settings) -> Sender:
    """As these settings want it."""
    return Sender(make_tls(), settings.webhook_timeout_seconds, allow_private=settings.webhook_allow_private)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings, process="webhooks")
    logging.getLogger("httpcore").setLevel(logging.WARNING)  # at DEBUG it writes targets and signatures
    arm(settings)
    engine = make_engine(settings, application="webhooks")
    dispatcher = Dispatcher(settings, make_sessions(engine), make_sender(settings))
    listener = Listener(engine, dispatcher.ring)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, dispatcher.heard)
    listener.start()
    log.info("dispatcher is up", private_targets=settings.webhook_allow_private)
    dispatcher.run()
    listener.stop()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
