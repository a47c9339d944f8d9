"""The service that stops idle servers, for who must not load the culler itself."""

from spawners.ends import IDLE_SERVICE

SERVICE = IDLE_SERVICE
TOKEN_FILE = "idle-culler-token"  # noqa: S105 - a file's name
SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
