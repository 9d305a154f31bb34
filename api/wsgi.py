"""What gunicorn loads: `gunicorn -c python:api.gunicorn_conf api.wsgi:app`."""

from api.app import create_app
from models.failpoints import arm
from models.log import configure_logging
from models.settings import get_settings

configure_logging(get_settings(), process="api")
arm(get_settings())
app = create_app(get_settings())
