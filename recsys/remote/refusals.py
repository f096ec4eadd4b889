"""What to do when a cloud's store does not do as asked: words for what its client says.

The client's own words are not repeated, for they may hold a key's name or a signed address. Which variables
it reads is listed with ``obstore.store.S3Config``, ``GCSConfig`` and ``AzureConfig``.
"""

import os
import re
from dataclasses import dataclass
from typing import Final

_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_REFUSED = {
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch", "InvalidSecurity"),
    *(
        "AuthenticationRequired",
        "NoAuthenticationInformation",
        "PermissionDeniedError",
        "UnauthenticatedError",
    ),
}
NO_BUCKET: Final = {"NoSuchBucket", "ContainerNotFound"}
"""Codes of a bucket that is not there, which look like an object that is not."""


@dataclass(frozen=True)
class _Cloud:
    """One maker's store."""

    login: str
    """What says who asks."""
    unnamed: tuple[str, ...]
    """What is in the client's words when nothing does: it asked the machine's own service."""
    endpoints: tuple[str, ...]
    """Variables that name a server other than the maker's."""
    place: str
    """What else says where to ask."""


_AMAZON = _Cloud(
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or the pod a role",
    ("/latest/api/token", "/latest/meta-data"),
    ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
    "AWS_ENDPOINT_URL and AWS_REGION",
)
_GOOGLE = _Cloud(
    "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT (a file), or GOOGLE_SERVICE_ACCOUNT_KEY (its "
    "JSON), or give the machine or the pod a service account with the role Storage Object User",
    ("/computeMetadata/", "GCP credential error", "service account file"),
    ("GOOGLE_BASE_URL",),
    "GOOGLE_BASE_URL",
)
_MICROSOFT = _Cloud(
    "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, "
    "AZURE_CLIENT_SECRET and AZURE_TENANT_ID; or the account's name alone, and give the machine or the pod "
    "an identity with the role Storage Blob Data Contributor",
    ("/metadata/identity/", "MissingAccount", "InvalidAccessKey", "FederatedTokenFile"),
    ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
)
_CLOUDS: Final = {"s3": _AMAZON, "s3a": _AMAZON, "gs": _GOOGLE, "az": _MICROSOFT} | {
    "abfs": _MICROSOFT,
    "abfss": _MICROSOFT,
}
CLOUDS: Final = tuple(_CLOUDS)
"""Protocols of the clouds' stores."""


def is_plain(url: str) -> bool:
    """Whether the environment names a server without TLS, as one on loopback."""
    names = _cloud(url).endpoints
    return any(os.environ.get(name, "").startswith("http://") for name in names)


def lacks_login(url: str, said: str) -> bool:
    """Whether the client found nothing that says who asks, or cannot read it."""
    return any(words in said for words in _cloud(url).unnamed)


def code_of(error: BaseException) -> str:
    """The store's name for an error, or its class."""
    found = _CODE.search(str(error))
    return found[1] if found else type(error).__name__


def advice(url: str, error: BaseException) -> str:
    """What is wrong with a store of a cloud, and what to do."""
    code, cloud = code_of(error), _cloud(url)
    if code in NO_BUCKET:
        return "there is no such bucket; create it, or correct the URL"
    if code in _REFUSED:
        return f"the store refuses these credentials ({code}); see to {cloud.login}"
    if lacks_login(url, str(error)):
        return f"there are no credentials, or none that can be read; set {cloud.login}"
    if code == "GenericError":
        return f"the store cannot be reached; see that it runs, and to {cloud.place}"
    return f"the store does not do as asked ({code})"


def _cloud(url: str) -> _Cloud:
    return _CLOUDS[url.partition(":")[0].lower()]
