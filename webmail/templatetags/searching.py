"""Tells people of search in the words that they may type."""

from django import template

from mailboxes import query

register = template.Library()
register.filter("spelled", query.spelled)
