"""What gunicorn loads: `gunicorn -c python:api.gunicorn_conf api.wsgi:app`."""

from api.app import create_app
from models.log import configure_logging
from models.settings import get_settings

configure_logging(get_settings(), process="api")
app = create_app(get_settings())
