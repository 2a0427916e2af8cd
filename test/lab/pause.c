// The container that holds a pod's namespaces: it waits, and reaps orphans.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int s) { exit(0); }

static void reap(int s) {
	while (waitpid(-1, NULL, WNOHANG) > 0);
}

int main(void) {
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGCHLD, reap);
	for (;;) pause();
}
