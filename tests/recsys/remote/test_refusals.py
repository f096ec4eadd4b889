import re

import pytest

from recsys.remote.refusals import CLOUDS, advice, is_plain


class GenericError(Exception):
    """As the client calls what is none of its other errors."""


NO_LOGIN = {
    "s3": ("PUT http://169.254.169.254/latest/api/token", "AWS_ACCESS_KEY_ID"),
    "gs": ("GET http://169.254.169.254/computeMetadata/v1/instance", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("GET http://169.254.169.254/metadata/identity/oauth2", "AZURE_STORAGE_ACCOUNT_KEY"),
}


@pytest.mark.parametrize("scheme", NO_LOGIN)
def test_who_has_no_credentials_is_told_which_variables_and_which_role_give_some(scheme: str) -> None:
    said, variable = NO_LOGIN[scheme]
    told = advice(f"{scheme}://bucket", GenericError(said))
    assert told.startswith("there are no credentials, or none that can be read; set ")
    assert variable in told
    assert "the machine or the pod" in told


@pytest.mark.parametrize(
    ("url", "said", "told"),
    [
        ("s3://b", "<Code>NoSuchBucket</Code>", "no such bucket"),
        ("az://b", "<Code>ContainerNotFound</Code>", "no such bucket"),
        ("az://b", "<Code>AuthenticationFailed</Code>", "AuthenticationFailed.*AZURE_STORAGE_ACCOUNT_NAME"),
        ("gs://b", "<Code>AccessDenied</Code>", "AccessDenied.*GOOGLE_SERVICE_ACCOUNT"),
        ("az://b", "Generic { source: MissingAccount }", "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("gs://b", "Unable to open service account file from /x", "set GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs://b", "error sending request", "cannot be reached.*GOOGLE_BASE_URL"),
        ("S3://b", "error sending request", "cannot be reached.*AWS_ENDPOINT_URL and AWS_REGION"),
        ("s3://b", "<Code>SlowDown</Code>", r"does not do as asked \(SlowDown\)"),
    ],
)
def test_what_a_store_says_is_worded_as_what_to_do(url: str, said: str, told: str) -> None:
    assert re.search(told, advice(url, GenericError(said)))


def test_a_server_without_tls_has_to_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in CLOUDS:
        assert not is_plain(f"{scheme}://bucket")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:10000/account")
    assert is_plain("az://bucket")
    assert not is_plain("s3://bucket")
