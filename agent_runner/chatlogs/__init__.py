"""Recorded aider conversations (`.aider.chat.history.md`) as data: what was asked, answered, and came of it.

Pure: text in, records out. Nothing in a log is executed.
"""

from agent_runner.chatlogs.parsing import parse_chat_log
from agent_runner.chatlogs.records import ChatLog, ChatTurn, RecordedReply, TurnDetail

__all__ = ["ChatLog", "ChatTurn", "RecordedReply", "TurnDetail", "parse_chat_log"]
