# What is otherwise in the package's units: where it lies, and a user of its own.
s|/opt/tdbwatch/bin/tdbwatch|/usr/bin/tdbwatch|
s|/opt/tdbwatch/share/doc|/usr/share/doc|
s|^DynamicUser=yes$|User=tdbwatch\nGroup=tdbwatch\nRemoveIPC=yes|
