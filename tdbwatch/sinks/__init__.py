"""The built-in sinks. They import only `tdbwatch.plugin` and register as anyone's plugin does."""
