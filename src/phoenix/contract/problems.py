"""Problem details (RFC 9457): the body of every response that is not 2xx."""

from pydantic import Field

from phoenix.contract.wire_types import View
from phoenix.errors import ProblemCode

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemFault(View):
    """One error of a request, with the place of the error."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the body.", examples=["/clips/0/prompt"])
    detail: str


class Problem(View):
    """The reason why a request was not fulfilled (RFC 9457)."""

    type: str = Field(examples=["https://phoenix.invalid/problems/invalid-request"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    code: ProblemCode
    request_id: str
    errors: list[ProblemFault] = Field(default_factory=list[ProblemFault])
    violated_policies: list[str] = Field(
        default_factory=list[str],
        serialization_alias="violated-policies",
        description="Names of the exceeded limits, as in `RateLimit-Policy`.",
    )
    job_ids: list[str] = Field(
        default_factory=list[str], description="With `ARTIFACT_IN_USE`: the jobs that need the file."
    )
