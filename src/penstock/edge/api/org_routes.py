"""Organisations: who shares limits and a bill."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from penstock.accounts.permissions import not_found, owns
from penstock.edge.layers.access import Admin, Caller, Services
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import After, Body, Flag, Id, Limit, ListView, Name, PlanName, Time, View, page

router = APIRouter(prefix="/api/orgs", tags=["Organisations"])


class OrgView(View):
    id: str
    name: str
    plan: str
    disabled: bool
    own_models_first: Annotated[bool, Field(description="Its own workers serve a model that the platform serves too.")]
    created_at: Time


class OrgList(ListView):
    data: list[OrgView]


class NewOrg(Body):
    name: Name
    plan: PlanName = "free"


class OrgChange(Body):
    """Only the fields that are sent change."""

    name: Name | None = None
    plan: PlanName | None = None
    disabled: Flag | None = None
    own_models_first: Annotated[Flag | None, Field(description="Its own workers serve a model that the platform serves too.")] = None


@router.get("", responses=problems(422), summary="List organisations")
async def list_orgs(caller: Caller, services: Services, limit: Limit = 1000, after: After = None) -> OrgList:
    """An administrator sees all, other users their own."""
    seen = [org for org in await services.store.accounts.organisations() if owns(caller, org.id)]
    return OrgList.model_validate(page(seen, limit, after, lambda org: org.id))


@router.post("", status_code=201, responses=body_problems(), summary="Make an organisation")
async def create_org(body: NewOrg, caller: Admin, services: Services) -> OrgView:
    return OrgView.model_validate(await services.accounts.create_organisation(caller, body.name, body.plan))


@router.get("/{org_id}", responses=problems(404, 422), summary="Show an organisation")
async def show_org(org_id: Id, caller: Caller, services: Services) -> OrgView:
    org = await services.store.accounts.organisation(org_id)
    if org is None or not owns(caller, org.id):
        raise not_found("organisation")
    return OrgView.model_validate(org)


@router.patch("/{org_id}", responses=body_problems(404), summary="Change an organisation")
async def change_org(org_id: Id, body: OrgChange, caller: Admin, services: Services) -> OrgView:
    """Disabling one refuses all of its keys within a second."""
    changed = await services.accounts.update_organisation(
        caller, org_id, name=body.name, plan=body.plan, disabled=body.disabled, own_models_first=body.own_models_first
    )
    return OrgView.model_validate(changed)
