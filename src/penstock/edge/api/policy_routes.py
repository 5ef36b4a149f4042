"""The policy: what is in force, its versions, edits with a look at what they would change, and the way back."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field

from penstock.catalog.policies import Edit
from penstock.catalog.policy_changes import Change, changes
from penstock.catalog.policy_document import PolicyDocument, document_of, policy_of
from penstock.domain.policy import PolicyVersion
from penstock.edge.layers.access import Admin, Services
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import WHOLE, Body, Limit, ListView, Time, View

router = APIRouter(prefix="/api/policy", tags=["Policy"])

_HIGHEST = 2**53
Version = Annotated[int, Path(ge=0, le=_HIGHEST)]
VersionQuery = Annotated[int | None, Query(ge=0, le=_HIGHEST)]
IfMatch = Annotated[
    str,
    Header(
        alias="if-match",
        pattern=r'^(\*|"?[0-9]{1,15}"?)$',
        description="The `ETag` of what was looked at: 412 when it is no longer in force.",
    ),
]
DryRun = Annotated[bool, Query(description="Only say what would change.")]
Comment = Annotated[str, Field(max_length=1000, description="Why; kept with the version.")]


class ChangeView(View):
    field: str
    before: Any
    after: Any
    text: Annotated[str, Field(description="For people.")]


class VersionView(View):
    version: int
    author: Annotated[str, Field(description="The id of the key it was made with.")]
    comment: str
    created_at: Time


class PolicyView(VersionView):
    policy: PolicyDocument


class EditView(PolicyView):
    changes: list[ChangeView]
    dry_run: bool


class VersionList(ListView):
    data: list[VersionView]


class ChangeList(View):
    data: list[ChangeView]


class NewPolicy(Body):
    policy: PolicyDocument
    comment: Comment = ""


class Rollback(Body):
    version: Annotated[int, Field(ge=0, le=_HIGHEST), WHOLE]
    comment: Comment = ""


@router.get("", responses=problems(), summary="Show the policy in force")
async def get_policy(caller: Admin, services: Services, response: Response) -> PolicyView:
    """Version 0: it has not been edited yet. Its `ETag` is for the next edit's `If-Match`."""
    return _view(await services.policies.current(), response)


@router.put("", responses=body_problems(409, 412), summary="Put another policy in force")
async def put_policy(
    body: NewPolicy, caller: Admin, services: Services, response: Response, if_match: IfMatch = "*", dry_run: DryRun = False
) -> EditView:
    """The whole of it: what the document leaves out gets its default; plans that are left out stay. On every gateway within a second."""
    edit = await services.policies.edit(
        lambda old: policy_of(body.policy, old.plans), caller.actor_id, body.comment, _expected(if_match), dry_run=dry_run
    )
    return _edit(edit, response, dry_run)


@router.post("/rollback", responses=body_problems(404, 409, 412), summary="Go back to an older version")
async def roll_back_policy(
    body: Rollback, caller: Admin, services: Services, response: Response, if_match: IfMatch = "*", dry_run: DryRun = False
) -> EditView:
    """Makes a new version with the contents of the old one."""
    edit = await services.policies.roll_back(body.version, caller.actor_id, body.comment, _expected(if_match), dry_run=dry_run)
    return _edit(edit, response, dry_run)


@router.get("/versions", responses=problems(422), summary="List the policy's versions")
async def list_policy_versions(
    caller: Admin, services: Services, limit: Limit = 100, before: Annotated[VersionQuery, Query(description="Only older ones.")] = None
) -> VersionList:
    """Newest first."""
    found = await services.policies.versions(limit + 1, before)
    return VersionList(data=[VersionView.model_validate(each) for each in found[:limit]], has_more=len(found) > limit)


@router.get("/versions/{version}", responses=problems(404, 422), summary="Show one version of the policy")
async def get_policy_version(version: Version, caller: Admin, services: Services) -> PolicyView:
    found = await services.policies.version(version)
    return PolicyView(**VersionView.model_validate(found).model_dump(), policy=document_of(found.policy))


@router.get("/diff", responses=problems(404, 422), summary="Compare two versions of the policy")
async def diff_policy(
    caller: Admin,
    services: Services,
    old: Annotated[int, Query(alias="from", ge=0, le=_HIGHEST)],
    new: Annotated[int | None, Query(alias="to", ge=0, le=_HIGHEST, description="Without it: the one in force.")] = None,
) -> ChangeList:
    before = await services.policies.version(old)
    after = await services.policies.current() if new is None else await services.policies.version(new)
    return ChangeList(data=[_change(each) for each in changes(before.policy, after.policy)])


def _expected(if_match: str) -> int | None:
    return None if if_match == "*" else int(if_match.strip('"'))


def _view(found: PolicyVersion, response: Response) -> PolicyView:
    response.headers["etag"] = f'"{found.version}"'
    return PolicyView(**VersionView.model_validate(found).model_dump(), policy=document_of(found.policy))


def _edit(edit: Edit, response: Response, dry_run: bool) -> EditView:
    if not dry_run:
        response.headers["etag"] = f'"{edit.version.version}"'
    view = VersionView.model_validate(edit.version).model_dump()
    return EditView(**view, policy=document_of(edit.version.policy), changes=[_change(each) for each in edit.changes], dry_run=dry_run)


def _change(change: Change) -> ChangeView:
    return ChangeView(field=change.field, before=change.before, after=change.after, text=str(change))
