"""Who may ask, and how much: clients, their API keys, their quotas and their place in the fair order."""

from models.clients.keys import ApiKey, IssuedKey, authenticate, issue_key, revoke_key
from models.clients.rows import Client, create_client

__all__ = ["ApiKey", "Client", "IssuedKey", "authenticate", "create_client", "issue_key", "revoke_key"]
