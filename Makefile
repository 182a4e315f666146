# A thin front over the CMake presets (CMakePresets.json). `make help` lists what there is.
.PHONY: build run test test-qemu e2e e2e-vfio e2e-stress nvme-torture nvme-kills conformance check check-all asan tsan clang tidy fuzz-smoke format bench clean help
.DEFAULT_GOAL := build

R := build/release
FUZZ_SECONDS ?= 30
TORTURE_SECONDS ?= 60
KILL_ROUNDS ?= 1000
STRESS_ROUNDS ?= 200
DANGER_ROUNDS ?= 20
# GCC 12's thread sanitizer does not know every address layout; without randomisation it does.
FIXED_LAYOUT := $(shell setarch -R true 2>/dev/null && echo setarch -R)

deps-%:
	@tools/install-deps $(subst +, ,$*)

$R/build.ninja: CMakePresets.json | deps-build
	cmake --preset release
	@touch $@

build: $R/build.ninja ## build the product into build/release/
	cmake --build --preset release

run: build ## build, then the main job: one device behind an IOMMU and one without, the same program
	$R/iommufd-user run -d edu,iommu=amd -d edu,iommu=none --enable-unsafe-noiommu-mode -- \
	  $R/examples/dma_copy 0000:01:00.0 0000:02:00.0

test: deps-build+test $R/build.ninja ## build everything and pass the tests
	cmake --build --preset test
	ctest --preset release

test-qemu: deps-build+test+qemu $R/build.ninja ## only the tests on Debian 12's own 6.1 kernel
	cmake --build --preset test
	ctest --preset qemu

e2e: deps-build+test+qemu $R/build.ninja ## real PCI functions: programs in a guest of QEMU drive its devices (logs in build/e2e)
	cmake --build --preset release --target product e2e_irq_counts e2e_intx e2e_map_file e2e_map_memory e2e_read_rom
	ctest --preset e2e

e2e-vfio: deps-build+test+qemu+kernel $R/build.ninja ## the same on a kernel with VFIO's noiommu mode and uio_pci_generic, which is compiled first (once, some minutes)
	cmake --build --preset release
	tests/e2e/boot --build $R vfio

e2e-stress: deps-build+test+qemu $R/build.ninja ## STRESS_ROUNDS (200) kills each of client and server while a real disk does DMA; then DANGER_ROUNDS (20) unguarded
	cmake --build --preset release --target product e2e_host_kills e2e_busy_reader e2e_moved_pages
	STRESS_ROUNDS=$(STRESS_ROUNDS) tests/e2e/boot --build $R stress
	DANGER_ROUNDS=$(DANGER_ROUNDS) tests/e2e/boot --build $R danger

nvme-torture: deps-build+test $R/build.ninja ## random use of -d nvme, right and wrong, for TORTURE_SECONDS (60) in each of its modes
	cmake --build --preset release --target iommufd-user nvme_torture
	TORTURE_SECONDS=$(TORTURE_SECONDS) ctest --preset release -R '^torture_nvme' -V -j1

nvme-kills: deps-build+test $R/build.ninja ## KILL_ROUNDS (1000) kills of a writing client, its server and its front: nothing is lost
	cmake --build --preset release --target iommufd-user kill_client nvme_kills
	KILL_ROUNDS=$(KILL_ROUNDS) ctest --preset release -R '^kill_nvme' -V

conformance: deps-build+conformance $R/build.ninja ## Linux's own iommufd selftests, unedited, under `run --selftest`
	cmake --build --preset release
	tools/conformance --dir $R

check: test format ## build, tests, format

check-all: check asan tsan clang tidy fuzz-smoke ## check, sanitizers, static analysis, fuzzers, headers, sizes
	tools/check-headers
	tools/check-sizes

format: deps-check ## is every file as clang-format leaves it? (tools/check-format --fix rewrites)
	tools/check-format

asan: deps-build+test ## tests under the address and undefined-behaviour sanitizers
	cmake --preset asan && cmake --build --preset asan && ctest --preset asan

tsan: deps-build+test ## tests under the thread sanitizer
	cmake --preset tsan && cmake --build --preset tsan && $(FIXED_LAYOUT) ctest --preset tsan

clang: deps-build+test+dev ## build with clang 19 (thread-safety analysis), run the tests with checked lock ranks
	cmake --preset clang && cmake --build --preset clang --target all benches && ctest --preset clang

tidy: deps-build+dev ## clang-tidy over src/
	cmake --preset clang && tools/check-tidy build/clang

fuzz-smoke: deps-build+dev ## each fuzzer for FUZZ_SECONDS (30)
	cmake --preset fuzz && cmake --build --preset fuzz && tools/fuzz --dir build/fuzz --seconds $(FUZZ_SECONDS)

bench: deps-build+bench $R/build.ninja ## figures as a text table, and in build/bench.json
	cmake --build --preset bench
	tools/bench --dir $R --json build/bench.json $(BENCH)

clean: ## remove what was built (not the kernels in build/qemu and build/e2e-kernel)
	rm -rf $R build/asan build/tsan build/clang build/fuzz build/conformance build/e2e build/bench.json

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
