"""The fields of the platform's config file: the presentation of the service, and limits."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Social:
    """A link that the service shows."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Service:
    """The name, description, avatar and links of the service."""

    name: str = "Service name"
    description: str = "Some info about your service."
    avatar: str = ""
    socials: tuple[Social, ...] = ()


@dataclass(frozen=True, slots=True)
class UserLimits:
    """Lengths of nicknames in bytes, and the lifetime of a cookie in minutes."""

    min_nickname_length: int = 3
    max_nickname_length: int = 32
    auth_token_lifetime: int = 10080


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """The longest text in bytes, and the number of files that a message or an upload may have."""

    max_body_length: int = 4096
    max_attached_files: int = 10


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The largest file of each kind, in bytes."""

    max_image_size: int = 2097152
    max_audio_size: int = 5242880
    max_video_size: int = 26214400
    max_file_size: int = 10485760

    @property
    def max_size(self) -> int:
        """The largest of the four limits, in bytes."""
        return max(self.max_image_size, self.max_audio_size, self.max_video_size, self.max_file_size)


@dataclass(frozen=True, slots=True)
class Config:
    """The content of the config file."""

    service: Service = field(default_factory=Service)
    user: UserLimits = field(default_factory=UserLimits)
    message: MessageLimits = field(default_factory=MessageLimits)
    file: FileLimits = field(default_factory=FileLimits)
