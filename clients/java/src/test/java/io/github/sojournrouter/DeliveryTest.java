package io.github.sojournrouter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

class DeliveryTest {
  private static final Acknowledgement RECORDED = new Acknowledgement("RECORDED", 0);

  private final Tally tally = new Tally();
  private final Delivery delivery = new Delivery(1, tally);

  /** Refuses with each of these, then acknowledges. */
  private static Supplier<Acknowledgement> stumbling(Status... refusals) {
    Iterator<Status> left = List.of(refusals).iterator();
    return () -> {
      if (left.hasNext()) {
        throw RequestRefusedException.byClient(left.next(), "");
      }
      return RECORDED;
    };
  }

  private static Supplier<Acknowledgement> neverServed() {
    return () -> {
      throw RequestRefusedException.byClient(Status.UNAVAILABLE, "");
    };
  }

  private static Throwable failureOf(CompletableFuture<Acknowledgement> receipt) {
    return assertThrows(CompletionException.class, receipt::join).getCause();
  }

  @Test
  void aReportIsSentUntilItIsAcknowledged() throws InterruptedException {
    var receipt = delivery.offer(stumbling(Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED));
    assertEquals(RECORDED, receipt.join());
    assertTrue(delivery.flush(Duration.ofSeconds(1)));
    assertEquals(2, tally.read().reportsRetried());
    assertEquals(1, tally.read().reportsAcknowledged());
  }

  @Test
  void aReportThatIsRefusedForGoodIsNotSentAgain() {
    assertInstanceOf(RequestRefusedException.class, failureOf(delivery.offer(stumbling(Status.INTERNAL))));
    assertEquals(1, tally.read().reportsRefused());
  }

  @Test
  void anErrorOfTheCallersOwnDoesNotStopTheNextReport() {
    delivery.offer(
        () -> {
          throw new IllegalStateException("no token to be had");
        });
    assertEquals(RECORDED, delivery.offer(stumbling()).join());
    assertEquals(1, tally.read().reportsDropped());
  }

  @Test
  void whatTheQueueCannotHoldAndWhatIsLeftAtTheEndIsDroppedAndCounted() throws InterruptedException {
    var sending = delivery.offer(neverServed());
    var waiting = delivery.offer(neverServed());
    assertInstanceOf(DroppedReportException.class, failureOf(delivery.offer(neverServed())));
    assertFalse(delivery.flush(Duration.ofMillis(20)));
    delivery.stop();
    assertInstanceOf(DroppedReportException.class, failureOf(sending));
    assertInstanceOf(DroppedReportException.class, failureOf(waiting));
    assertInstanceOf(DroppedReportException.class, failureOf(delivery.offer(neverServed())));
    assertEquals(4, tally.read().reportsDropped());
  }

  @Test
  void aPauseIsNoShorterThanTheRouterAsksAndHasACeiling() {
    Duration wish = Duration.ofMillis(400);
    assertTrue(Delivery.pause(0, wish).compareTo(wish) >= 0);
    assertTrue(Delivery.pause(0, wish).compareTo(Duration.ofMillis(500)) <= 0);
    assertTrue(Delivery.pause(1_000, Duration.ofDays(1)).compareTo(Duration.ofSeconds(20)) <= 0);
  }
}
