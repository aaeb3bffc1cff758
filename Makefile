# What people type. `make` alone lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

.PHONY: build
build: ## bin/backupd, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/backupd ./cmd/backupd

.PHONY: demo
demo: ## see the main job done for real, in about a minute
	@test/means.sh run --only engine -- examples/demo/demo.sh

# The tests set up their own engine, database and S3 server; tally prints what `go test` would and, last, what was not run.
.PHONY: test
test: ## all tests
	test/means.sh run -- $(MAKE) --no-print-directory tests

.PHONY: tests
tests:
	@race=-race missing=(); \
	[ "$$(go env CGO_ENABLED)" = 1 ] || { race=; missing=("the race detector: no C compiler"); }; \
	echo "go test $$race -shuffle=on ./..."; \
	go test -json $$race -shuffle=on ./... | go run ./test/tally "$${missing[@]}"

# A run is its seed's: the same kills at the same moments, as near as a machine can tell.
.PHONY: torture
torture: ## kill backupd, its guards and the engine over and over; KILLS=300 SEED=1 ONLY=kind
	test/means.sh run --only engine,shell,postgres -- go test -timeout 3h -v -run WhateverDies ./test/torture \
		-kills $(or $(KILLS),300) -seed $(or $(SEED),$$RANDOM) -only "$(ONLY)" -open-all

# A plan is its seed's, but for what the machine's own pace does to it.
.PHONY: faults
faults: ## back up while servers and wires fail, by seeded plans; PLANS=200 SEED=1
	test/means.sh run --only s3,places -- go test -count=1 -timeout 3h -v ./test/faults \
		-plans $(or $(PLANS),200) -seed $(or $(SEED),$$RANDOM)

.PHONY: generations
generations: ## archive a folder that changes at random, over and over, on each file system; GENERATIONS=300 SEED=1; 2000 of them with UNSETTLED=30s, the real span
	test/means.sh run --only shell -- go test -count=1 -timeout 3h -v -run TestGenerations ./internal/archive \
		-generations $(or $(GENERATIONS),300) -seed $(or $(SEED),0) -unsettled $(or $(UNSETTLED),30ms)

.PHONY: kills
kills: ## kill backupd at random moments of uploads to S3; KILLS=50 SEED=1
	test/means.sh run --only s3 -- go test -count=1 -timeout 1h -v -run RandomMoments ./test/e2e \
		-kills $(or $(KILLS),50) -seed $(or $(SEED),$$RANDOM)

.PHONY: lint
lint: ## formatting, vet, staticcheck, a tidy go.mod
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff

.PHONY: bench
bench: build ## times backups against tar, restic and others that are installed; BENCH='-n 5 pg' for more
	test/means.sh run -- go run ./test/bench $(BENCH)

HOLD_DATA ?= /tmp/backupd-bench/data
HOLD_RUNS ?= 3

.PHONY: hold
hold: ## what a database's clients feel of a backup, on the set that bench makes
	@mkdir -p $(HOLD_DATA)
	[ -d $(HOLD_DATA)/pg ] || test/means.sh run --only postgres -- bash test/bench/pg.sh $(HOLD_DATA)/pg
	TEST_HOLD_DATA=$(HOLD_DATA)/pg TEST_HOLD_RUNS=$(HOLD_RUNS) test/means.sh run -- \
		go test -count=1 -timeout 1h -v -run 'TestWhatClientsFeelOfABackup|TestASlowTarget' ./test/e2e

# Not a part of lint: its database lies on the internet.
.PHONY: vuln
vuln: ## known vulnerabilities in what the program calls
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

# What goroutines do differs from run to run, so most inputs look new, and making each smaller would take up all of the time.
.PHONY: fuzz
fuzz: ## every fuzz test, FUZZTIME=30s each
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file func; do \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "./$$(dirname "$$file")"; \
	done

.PHONY: image
image: build ## the container image backupd, from bin/backupd and nothing else
	docker build --target prebuilt -t backupd .

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
