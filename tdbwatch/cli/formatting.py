"""How help is laid out: for a screen of 80 columns and 24 lines."""

import argparse


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows descriptions and examples as they are written, and `-c, --config FILE` on one line."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(sorted(action.option_strings, key=len))} {value}"
