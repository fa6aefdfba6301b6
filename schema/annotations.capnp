@0x9a1d3f0c5e7b2846;
# What a method says of the capabilities that travel beside its messages. The generator of the typed clients reads it.

annotation lends @0xb16e4c0a9d7f3582 (method) :UInt16;
# A call lends so many capabilities.

annotation mayLend @0xe7a05d9b21c86f34 (method) :Text;
# A call may lend one capability, and is about what that names instead of about the caller. The text is a name for it.

annotation gives @0x94f3c7e81a6d0b25 (method) :Void;
# A call gives any number of capabilities.

annotation resultsGive @0xcb8d1260f5a97e43 (method) :UInt16;
# The results give so many capabilities.

annotation clientName @0xa95270be4c83d1f6 (method) :Text;
# The client's method has this name, because the client has another use for the method's own.
