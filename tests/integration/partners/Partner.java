// A partner in a consumer group, with Kafka's own client: a file a page, and the group's offsets committed after they are written.
//
// java Partner SETTINGS TOPIC NAMESPACES FOLDER [LIMIT]     SETTINGS: a properties file for the client
//
// Ends at the end of the topic, and prints a JSON line a page. LIMIT: dies after so many records, with nothing of them committed.

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

final class Partner {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path folder;
    private final Set<String> wanted;
    private final Map<String, Path> titles = new HashMap<>(); // who holds a title

    private Partner(Path folder, Set<String> wanted) throws IOException {
        this.folder = folder;
        this.wanted = wanted;
        for (ObjectNode page : pages()) {
            titles.put(titleOf(page), file(page.get("key").textValue()));
        }
    }

    public static void main(String[] args) throws Exception {
        var settings = new Properties();
        try (var reader = Files.newBufferedReader(Path.of(args[0]))) {
            settings.load(reader);
        }
        var partner = new Partner(Path.of(args[3]), Set.of(args[2].split(",")));
        partner.follow(settings, args[1], args.length > 4 ? Integer.parseInt(args[4]) : 0);
        for (ObjectNode page : partner.pages()) {
            page.remove(List.of("key", "seq"));
            System.out.println(JSON.writeValueAsString(page));
        }
    }

    private void follow(Properties settings, String topic, int limit) throws Exception {
        settings.put("isolation.level", "read_committed"); // this client's default is read_uncommitted
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "none"); // what retention has removed must not pass unnoticed
        int left = limit;
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (!atTheEnd(consumer)) { // without that it follows for ever
                try {
                    for (var record : consumer.poll(Duration.ofMillis(200))) {
                        take(record);
                        if (--left == 0) {
                            Runtime.getRuntime().halt(9);
                        }
                    }
                    consumer.commitSync(); // after all of it was written: some may come again, and take() knows it by its seq
                } catch (NoOffsetForPartitionException first) { // or away for so long that the group was forgotten
                    consumer.seekToBeginning(first.partitions());
                }
            }
        }
    }

    private static boolean atTheEnd(KafkaConsumer<?, ?> consumer) {
        var assigned = consumer.assignment();
        try {
            var ends = consumer.endOffsets(assigned);
            return !assigned.isEmpty() && assigned.stream().allMatch(part -> consumer.position(part) >= ends.get(part));
        } catch (NoOffsetForPartitionException first) {
            return false;
        }
    }

    private void take(ConsumerRecord<String, byte[]> record) throws Exception {
        String namespace = header(record, "namespace"), prior = header(record, "prior_namespace");
        if (!wanted.contains(namespace) && !(prior != null && wanted.contains(prior))) {
            return; // not parsed
        }
        JsonNode m = JSON.readTree(record.value()), page = m.get("page"), revision = m.get("revision");
        Path file = file(record.key());
        JsonNode before = Files.exists(file) ? JSON.readTree(file.toFile()) : JSON.createObjectNode();
        long seq = m.get("seq").longValue(), last = before.path("seq").longValue();
        if (seq <= last) {
            return; // had it already
        }
        String kind = m.get("kind").textValue(), title = m.get("wiki_id").textValue() + " " + page.path("title").textValue();
        if (page.get("page_id").isNull() && titles.containsKey(title)) { // deleted, and nobody ever said under which id
            Files.delete(titles.remove(title));
        }
        var after = JSON.createObjectNode().put("key", record.key()).put("seq", seq);
        if (kind.equals("delete") || !wanted.contains(namespace)) {
            titles.values().remove(file);
            write(file, after); // the number alone stays
            return;
        }
        byte[] text = before.path("text").isTextual() ? before.get("text").textValue().getBytes(UTF_8) : null;
        switch (kind) {
            case "snapshot" -> text = m.get("text").isNull() ? null : m.get("text").textValue().getBytes(UTF_8);
            case "patch" -> text = seq == last + 1 && Objects.equals(sha1(text), m.get("base").get("sha1").textValue())
                    ? Apply.apply(text, ops(m.get("patch").get("ops"))) : null;
            case "redact" -> { }
            default -> throw new IllegalStateException(record.key() + ": kind " + kind + " is of a newer version than this program");
        }
        if (!Objects.equals(sha1(text), revision.get("sha1").textValue())) {
            text = null; // a divergence: the text is to be fetched from elsewhere
        }
        titles.values().remove(file);
        Path loser = titles.put(title, file);
        if (loser != null) {
            write(loser, ((ObjectNode) JSON.readTree(loser.toFile())).putNull("title"));
        }
        after.set("wiki_id", m.get("wiki_id"));
        after.setAll((ObjectNode) ((ObjectNode) page).retain("page_id", "title", "namespace"));
        after.setAll((ObjectNode) ((ObjectNode) revision).retain("rev_id", "sha1"));
        write(file, after.put("text", text == null ? null : new String(text, UTF_8)));
    }

    private static List<Apply.Op> ops(JsonNode patch) {
        var ops = new ArrayList<Apply.Op>();
        patch.forEach(op -> ops.add(new Apply.Op(op.get(0).intValue(), op.get(1).intValue(), op.get(2).textValue())));
        return ops;
    }

    private static String sha1(byte[] text) throws Exception {
        return text == null ? null : HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(text));
    }

    private static String header(ConsumerRecord<?, ?> record, String name) {
        var header = record.headers().lastHeader(name);
        return header == null ? null : new String(header.value(), UTF_8);
    }

    private static String titleOf(JsonNode page) {
        return page.get("wiki_id").textValue() + " " + page.get("title").textValue();
    }

    private Path file(String key) {
        return folder.resolve(key.replace(':', ' ') + ".json");
    }

    private static void write(Path file, JsonNode page) throws IOException {
        Files.write(file, JSON.writeValueAsBytes(page)); // a real one writes beside it and renames
    }

    private List<ObjectNode> pages() throws IOException {
        var found = new ArrayList<ObjectNode>();
        try (var files = Files.list(folder)) {
            for (Path file : files.toList()) {
                var page = (ObjectNode) JSON.readTree(file.toFile());
                if (page.has("page_id")) {
                    found.add(page);
                }
            }
        }
        return found;
    }
}
