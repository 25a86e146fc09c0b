"""Who uses the answers, and for what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from medr1_pacs.db.tables.base import Base, Recorded, Sha256
from medr1_pacs.records.words import DatePolicy, Role, SignInMethod


class Project(Base):
    """A research project: what was approved, for which purpose."""

    __tablename__ = "project"

    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(Text, default="")
    approval_number: Mapped[str] = mapped_column(Text, default="")
    purpose: Mapped[str] = mapped_column(Text, default="")
    dates: Mapped[DatePolicy] = mapped_column(default=DatePolicy.YEAR)
    retention_days: Mapped[int | None]
    ends_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Account(Recorded, Base):
    """A person who signs in; closed one day, never deleted, since events name it."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    name: Mapped[str] = mapped_column(String(64), unique=True)
    full_name: Mapped[str] = mapped_column(Text, default="")
    password_hash: Mapped[str | None] = mapped_column(Text)
    """Argon2id; None: signs in by a link or the hospital's provider alone."""
    issuer: Mapped[str | None] = mapped_column(Text)
    """With `subject`: who the person is to the OpenID provider."""
    subject: Mapped[str | None] = mapped_column(Text)
    is_administrator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ProjectMember(Recorded, Base):
    """Says what an account may do in a project."""

    __tablename__ = "project_member"
    __table_args__ = (UniqueConstraint("account_id", "project_id", "role"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    role: Mapped[Role]
    is_from_provider: Mapped[bool] = mapped_column(default=False)
    """By a group of the OpenID provider; looked at again at every sign-in."""
    added_at: Mapped[datetime]

    project: Mapped[Project] = relationship()


class AccountSession(Base):
    """Somebody is signed in; the browser holds a random token, the row its hash."""

    __tablename__ = "session"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    method: Mapped[SignInMethod]
    address: Mapped[str] = mapped_column(String(64))
    """Where the person signed in from, to know a session by."""
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    """However busy it is."""
    ended_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()


class SignInLink(Base):
    """A link that signs an account in once."""

    __tablename__ = "sign_in_link"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()


class KnownDevice(Base):
    """A browser in which an account signed in before: others' wrong passwords do not slow it."""

    __tablename__ = "known_device"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class ApiToken(Base):
    """What a program of an account may do for it, and until when."""

    __tablename__ = "api_token"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    token_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    scopes: Mapped[list[Any]]
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    """The one project that it is for; None: all of the account's."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()
