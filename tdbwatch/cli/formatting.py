"""How help is laid out: for a screen of 80 columns and 24 lines."""

import argparse


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows descriptions and examples as they are written, and `-c, --config FILE` on one line."""

    def add_argument(self, action: argparse.Action) -> None:
        """Commands are set in further than argparse thinks when it looks for the longest."""
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += self._indent_increment

    def _format_action(self, action: argparse.Action) -> str:
        """The commands, without a line above that says `COMMAND`."""
        if action.nargs == argparse.PARSER:
            return "".join(map(super()._format_action, self._iter_indented_subactions(action)))
        return super()._format_action(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(sorted(action.option_strings, key=len))} {value}"
