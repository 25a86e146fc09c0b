"""Signing in by the site's OpenID provider.

provider.py   who the provider is, and what its groups give
client.py     the conversation with it: discovery, keys, the code for an ID token
claims.py     is an ID token for us, from it, and of now?
"""

from medr1_pacs.openid.provider import Provider

__all__ = ["Provider"]
