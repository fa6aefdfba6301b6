# `make run-NAME` is `cargo xtask run NAME`; every other task has the name that cargo xtask gives it.
.PHONY: setup build test soak run check-layers

setup build test soak run check-layers:
	cargo xtask $@ $(ARGS)

run-%:
	cargo xtask run $* $(ARGS)
