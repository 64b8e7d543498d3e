package io.github.sojournrouter;

import java.time.Duration;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;

/**
 * Sends reports one at a time, oldest first, because an outcome must not overtake the facts of its turns. Each is sent
 * again until it is acknowledged, refused for good, or given up; its natural key makes repeats harmless.
 */
final class Delivery {
  private static final Duration BACKOFF_BASE = Duration.ofMillis(100);
  private static final Duration BACKOFF_CEILING = Duration.ofSeconds(10);

  private final Tally tally;
  private final ThreadPoolExecutor sender;
  private CompletableFuture<Acknowledgement> newest = CompletableFuture.completedFuture(null); // guarded by this

  Delivery(int capacity, Tally tally) {
    this.tally = tally;
    this.sender =
        new ThreadPoolExecutor(1, 1, 10, TimeUnit.SECONDS, new ArrayBlockingQueue<>(capacity), Delivery::thread);
    sender.allowCoreThreadTimeOut(true);
  }

  /**
   * Queues a report. {@code send} sends it once and throws RequestRefusedException if it fails. A full queue drops the
   * newest report: the older are nearer to the end of their episodes' windows.
   */
  synchronized CompletableFuture<Acknowledgement> offer(Supplier<Acknowledgement> send) {
    Report report = new Report(send);
    try {
      sender.execute(report);
      newest = report.settled;
    } catch (RejectedExecutionException full) {
      report.drop(sender.isShutdown() ? "the client is closed" : "the queue is full");
    }
    return report.settled.copy(); // whatever the caller does to it, the report goes its way
  }

  /** Waits until every report is settled, which is when the newest is; false if the time ran out first. */
  boolean flush(Duration timeout) throws InterruptedException {
    CompletableFuture<Acknowledgement> last;
    synchronized (this) {
      last = newest;
    }
    try {
      last.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException late) {
      return false;
    } catch (ExecutionException refused) {
      return true;
    }
    return true;
  }

  /** Gives up what is left. */
  void stop() {
    for (Runnable left : sender.shutdownNow()) {
      ((Report) left).drop("the client was closed before");
    }
  }

  /** The router's wish plus full jitter before retry number {@code retries}, from 0. */
  static Duration pause(int retries, Duration wish) {
    long ceiling = Math.min(BACKOFF_CEILING.toMillis(), BACKOFF_BASE.toMillis() << Math.min(retries, 16));
    Duration jitter = Duration.ofMillis(ThreadLocalRandom.current().nextLong(ceiling + 1));
    return jitter.plus(wish.compareTo(BACKOFF_CEILING) < 0 ? wish : BACKOFF_CEILING);
  }

  private static Thread thread(Runnable work) {
    Thread thread = new Thread(work, "sojourn-reports");
    thread.setDaemon(true);
    return thread;
  }

  private final class Report implements Runnable {
    private final Supplier<Acknowledgement> send;
    private final CompletableFuture<Acknowledgement> settled = new CompletableFuture<>();

    Report(Supplier<Acknowledgement> send) {
      this.send = send;
    }

    @Override
    public void run() {
      try {
        for (int retries = 0; !attempt(retries); retries++) {}
      } catch (InterruptedException closed) {
        drop("the client was closed before");
      } catch (RuntimeException unforeseen) { // such as a token's supplier that fails: the next report must go on
        tally.count(Tally.Event.DROPPED);
        settled.completeExceptionally(unforeseen);
      }
    }

    /** Sends once; true if the report is settled by it, false once it has paused for the next. */
    private boolean attempt(int retries) throws InterruptedException {
      try {
        Acknowledgement answer = send.get();
        tally.count(Tally.Event.ACKNOWLEDGED);
        settled.complete(answer);
      } catch (RequestRefusedException refused) {
        if (refused.isTransient()) {
          if (Thread.interrupted() || sender.isShutdown()) {
            throw new InterruptedException();
          }
          tally.count(Tally.Event.RETRIED);
          Thread.sleep(pause(retries, refused.retryAfter()).toMillis());
          return false;
        }
        tally.count(Tally.Event.REFUSED);
        settled.completeExceptionally(refused);
      }
      return true;
    }

    void drop(String because) {
      tally.count(Tally.Event.DROPPED);
      settled.completeExceptionally(new DroppedReportException(because));
    }
  }
}
