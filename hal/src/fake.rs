//! [`FakeMachine`]: a machine for tests on the host, in virtual time.
